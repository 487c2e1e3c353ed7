from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from trainkit.reports.figures import MAX_PAIRS, MAX_POINTS, draw_curves, draw_pairs


def path_points(svg: str, colour: str) -> list[int]:
    """Numbers of points of the lines of one colour."""
    paths = [node for node in ET.fromstring(svg).iter("path") if f"stroke: var(--{colour})" in node.get("style", "")]
    return [len(re.findall(r"[ML]", node.get("d", ""))) for node in paths]


def test_curves_are_well_formed_svg_with_the_colours_of_the_page() -> None:
    svg = draw_curves(
        {"val": ([20, 40], [0.5, 0.4]), "train": ([5, 10, 15, 20], [1.0, 0.8, 0.7, 0.6])}, marked_step=40, prefix="c0"
    )
    assert ET.fromstring(svg).tag == "svg"
    assert path_points(svg, "train") == [4]
    assert path_points(svg, "model") == [2]
    assert not re.search(r"#[0-9a-f]{6}\b|https?:|<style|font-family", svg)


def test_ids_begin_with_the_prefix_and_references_meet_them() -> None:
    svg = draw_curves({"val": ([1, 2], [1.0, 2.0])}, prefix="c7")
    ids = set(re.findall(r'\bid="([^"]*)"', svg))
    references = set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg))
    assert ids
    assert all(name.startswith("c7-") for name in ids)
    assert {first or second for first, second in references} <= ids


def test_the_same_curves_give_the_same_text() -> None:
    lines = {"val": ([1, 2, 3], [0.1, 0.3, 0.2])}
    assert draw_curves(lines, prefix="c") == draw_curves(lines, prefix="c")


def test_a_long_curve_is_drawn_by_means() -> None:
    steps = np.arange(10 * MAX_POINTS)
    svg = draw_curves({"train": (steps.tolist(), np.zeros(len(steps)).tolist())}, prefix="c")
    assert path_points(svg, "train")[0] <= MAX_POINTS


def test_one_point_and_a_constant_draw() -> None:
    for lines in ({"train": ([1], [0.5])}, {"val": ([1, 2], [0.5, 0.5])}):
        assert ET.fromstring(draw_curves(lines, prefix="c")).tag == "svg"


def test_pairs_are_thinned_evenly() -> None:
    values = np.linspace(0, 1, 5 * MAX_PAIRS)
    svg = draw_pairs(values, values, prefix="p")
    assert len(re.findall("<use ", svg)) == MAX_PAIRS
    few = draw_pairs(values[:7], values[:7], prefix="p")
    assert len(re.findall("<use ", few)) == 7


def test_pairs_of_equal_numbers_draw() -> None:
    assert ET.fromstring(draw_pairs(np.ones(3), np.ones(3), prefix="p")).tag == "svg"


def test_matplotlib_is_lazy_and_its_global_state_untouched() -> None:
    script = """
import sys, trainkit.reports, trainkit.reports.figures as figures
assert "matplotlib" not in sys.modules, "imported before the first figure"
import matplotlib
state = lambda: {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
before = state()
figures.draw_curves({"val": ([1, 2], [1.0, 2.0])}, prefix="c")
assert "matplotlib.pyplot" not in sys.modules, "pyplot was imported"
assert state() == before, "rcParams changed"
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", [1e60, 1e-60])
def test_numbers_too_long_for_the_picture(size: float) -> None:
    assert draw_curves({"val": ([1, 2, 3], [size, size / 10, 0.0])}, prefix="p").startswith("<svg")
