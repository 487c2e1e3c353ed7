"""Line and scatter plots as inline SVG that takes its colours and its typeface from the page it stands in.

Matplotlib is imported when the first figure is drawn, and only its object-oriented half: no pyplot, no backend switch.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = tuple[Sequence[float], Sequence[float]]
"""x and y of a line."""

PALETTE = {"#010203": "ink", "#010204": "muted", "#010205": "rule", "#010206": "train", "#010207": "model"}
"""Placeholder colours that become the page's CSS variables."""
INK, MUTED, RULE, TRAIN, MODEL = PALETTE

MAX_POINTS = 300
"""Points per line; a longer one is drawn as the means of equal stretches."""
MAX_PAIRS = 1000
"""Points of a scatter plot; a larger split is drawn as an even choice of rows."""
FONT_SIZE = 8
MOST_MARGIN = 0.4
"""Share of a picture's width."""
_POINTS_PER_INCH = 72

FEW_POINTS = 30
"""Up to here a validation line has markers."""


def draw_curves(lines: Mapping[str, Points], *, marked_step: int | None = None, prefix: str) -> str:
    """Draws the training and validation curve of one metric over optimizer steps.

    Args:
        lines: Points by split; the split named ``train`` is drawn as background.
        marked_step: Step of the best checkpoint, drawn as a vertical line.
        prefix: Unique on the page; begins every id in the SVG.

    Returns:
        An ``<svg>`` element.
    """
    figure, axes = _new_axes(4.2, 2.3)
    if marked_step is not None:
        axes.axvline(marked_step, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
    for split, (x, y) in sorted(lines.items(), key=lambda item: item[0] != "train"):
        steps, values = _thin(np.asarray(x, float)), _thin(np.asarray(y, float))
        is_train = split == "train"
        marker = "o" if len(steps) <= (1 if is_train else FEW_POINTS) else ""
        color, width = (TRAIN, 1.1) if is_train else (MODEL, 1.6)
        axes.plot(steps, values, color=color, linewidth=width, marker=marker, markersize=3, markeredgewidth=0)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.locator_params(axis="both", nbins=5)
    _leave_room(figure, axes)
    return _to_svg(figure, prefix)


def draw_pairs(target: np.ndarray, predicted: np.ndarray, *, prefix: str) -> str:
    """Draws predicted against true numbers, with the line on which both agree.

    Args:
        target: float [N], finite.
        predicted: float [N].
        prefix: Unique on the page; begins every id in the SVG.

    Returns:
        An ``<svg>`` element.
    """
    chosen = np.unique(np.linspace(0, len(target) - 1, min(len(target), MAX_PAIRS)).round().astype(int))
    figure, axes = _new_axes(4.4, 4.2)
    ends = [min(target.min(), predicted.min()), max(target.max(), predicted.max())]
    axes.plot(ends, ends, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
    dots: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 3.4, "markeredgewidth": 0}
    axes.plot(target[chosen], predicted[chosen], color=MODEL, alpha=0.55, **dots)
    axes.set_xlabel("true", color=MUTED, fontsize=FONT_SIZE)
    axes.set_ylabel("predicted", color=MUTED, fontsize=FONT_SIZE)
    axes.grid(color=RULE, linewidth=0.7)
    axes.locator_params(axis="both", nbins=6)
    axes.set_aspect("equal", adjustable="datalim")
    figure.set_layout_engine("constrained")
    return _to_svg(figure, prefix)


def _new_axes(width_inches: float, height_inches: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches))
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(colors=MUTED, labelsize=FONT_SIZE, length=0, pad=4)
    axes.ticklabel_format(axis="both", style="plain", useOffset=False)
    return figure, axes


def _leave_room(figure: Figure, axes: Axes) -> None:
    """Margins for the numbers at the axes, by their lengths; a layout engine takes as long as the drawing."""
    width, height = figure.get_size_inches() * _POINTS_PER_INCH
    across, up = (a.get_major_formatter().format_ticks(list(a.get_majorticklocs())) for a in (axes.xaxis, axes.yaxis))
    character = 0.62 * FONT_SIZE
    left = min(MOST_MARGIN, (max(map(len, up), default=0) * character + 8) / width)
    right = 1 - min(MOST_MARGIN, (len(across[-1]) / 2 * character + 4 if across else 4) / width)
    figure.subplots_adjust(left=left, right=right, bottom=(FONT_SIZE + 10) / height, top=1 - FONT_SIZE / height)


def _thin(values: np.ndarray) -> np.ndarray:
    if len(values) <= MAX_POINTS:
        return values
    return np.array([stretch.mean() for stretch in np.array_split(values, MAX_POINTS)])


def _to_svg(figure: Figure, prefix: str) -> str:
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):  # real text, and the same ids every time
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<defs>\s*<style.*?</defs>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s(xmlns(:\w+)?|width|height|version)="[^"]*"', "", svg[: svg.index(">")]) + svg[svg.index(">") :]
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"font(-family)?:[^;\"]*;?\s*", _keep_size, svg)
    for placeholder, name in PALETTE.items():
        svg = svg.replace(placeholder, f"var(--{name})")
    return svg.replace("<svg", '<svg role="img"', 1)


def _keep_size(match: re.Match[str]) -> str:
    size = re.search(r"[\d.]+px", match[0])
    return f"font-size: {size[0]}; " if size else ""
