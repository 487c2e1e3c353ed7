from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path

import pytest
import torch

from trainkit.runs import machine
from trainkit.runs.devices import Devices

CPU = Devices("cpu", 1, 1)


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_installed_distribution_has_its_version() -> None:
    machine.packages.cache_clear()
    found = machine.packages()
    assert {normalised(dist.name) for dist in importlib.metadata.distributions()} == set(found)
    for name in ("torch", "hydra-core", "scikit-learn", "lightning"):
        assert found[name] == importlib.metadata.version(name)
    assert list(found) == sorted(found)


def test_the_first_on_the_path_counts_and_old_layouts_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, folder in (
        ("one", "Two_Words.here-1.0.dist-info"),
        ("two", "two_words_here-2.0.dist-info"),
        ("two", "with-dash-1.2.3-py3.11.egg-info"),
        ("two", "bare.egg-info"),
    ):
        (tmp_path / place / folder).mkdir(parents=True)
    (tmp_path / "two" / "bare.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: bare\nVersion: 0.7\n")
    paths = [str(tmp_path / name) for name in ("one", "two", "nowhere")]
    monkeypatch.setattr(sys, "path", [*paths, __file__])
    machine.packages.cache_clear()
    found = machine.packages()
    machine.packages.cache_clear()
    assert found == {"bare": "0.7", "two-words-here": "1.0", "with-dash": "1.2.3"}


def test_what_numbers_may_depend_on_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("HF_TOKEN", "secret")
    known = machine.software(deterministic=True)
    assert known["python"] == platform.python_version() and known["interpreter"]["kind"] in ("venv", "conda", "system")
    assert known["torch"]["version"] == torch.__version__ and known["torch"]["cpu_capability"]
    assert known["torch"]["blas"] in torch.__config__.show()
    assert known["determinism"] == {"deterministic": True, "cudnn_benchmark": False, "matmul_precision": "highest"}
    assert known["variables"]["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert set(known["variables"]) <= set(machine.VARIABLES) - {"MKL_NUM_THREADS"}


def test_no_variable_on_the_list_could_hold_a_secret() -> None:
    assert [name for name in machine.VARIABLES if re.search("TOKEN|KEY|SECRET|PASS|USER|HOME|HOST", name)] == []


def test_the_hardware_is_told_without_a_gpu_too() -> None:
    known = machine.hardware(CPU)
    assert known["cpus"] == os.cpu_count() >= known["cpus_usable"] >= 1
    assert known["memory_bytes"] > 2**28 and known["cpu"]
    assert (known["accelerator"], known["devices"], known["threads"]) == ("cpu", 1, 1)
    assert len(known["gpus"]) == torch.cuda.device_count() and known["cuda"] == torch.version.cuda


def test_the_driver_is_read_from_where_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build\nGCC version: gcc 12.2.0"
    monkeypatch.setattr(machine, "_text_of", lambda path: line)
    assert machine._driver() == "550.54.15"
    monkeypatch.setattr(machine, "_text_of", lambda path: None)
    assert machine._driver() is None
