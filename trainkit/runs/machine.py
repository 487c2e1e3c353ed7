"""What a run's numbers may depend on outside of its own code: packages, interpreter, hardware and settings of torch.

Called by ``provenance`` once per run. Names no user and no host, and reads environment variables by a list of names.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

import torch

from trainkit.runs.devices import Devices

VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "KMP_AFFINITY"),
    *("KMP_BLOCKTIME", "MKL_CBWR", "MKL_DYNAMIC", "MKL_ENABLE_INSTRUCTIONS"),
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
    *("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    *("TORCH_CUDNN_V8_API_DISABLED", "NCCL_ALGO", "NCCL_PROTO", "PYTHONHASHSEED"),
)
"""The environment variables that are recorded where set: those that change numbers or speed, and hold no secret."""

_DIST = re.compile(r"(?P<name>[^-]+(?:-[^-\d][^-]*)*)-(?P<version>\d[^-]*)(?:-py[\d.]+)?\.(?:dist|egg)-info")


def software(deterministic: bool) -> dict[str, Any]:
    """Interpreter, system, every installed package, how torch was built, and its flags.

    Args:
        deterministic: Whether the run asks for deterministic kernels only.
    """
    return {
        "python": platform.python_version(),
        "interpreter": {"implementation": platform.python_implementation(), "kind": _interpreter_kind()},
        "platform": platform.platform(),
        "packages": packages(),
        "torch": {
            "version": str(torch.__version__),
            "commit": torch.version.git_version,
            "blas": _built_with("BLAS_INFO"),
            "onednn": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "cuda_arch": torch.cuda.get_arch_list() if torch.cuda.is_available() else [],
        },
        "determinism": {
            "deterministic": deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "matmul_precision": torch.get_float32_matmul_precision(),
        },
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def hardware(devices: Devices) -> dict[str, Any]:
    """Processor, memory in bytes, GPUs with the versions of what drives them, and what of it the run uses."""
    return {
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "cpus_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "accelerator": devices.accelerator,
        "devices": devices.count,
        "threads": devices.threads,
        "gpus": [torch.cuda.get_device_name(idx) for idx in range(torch.cuda.device_count())],
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,  # type: ignore[no-untyped-call]
    }


@functools.cache
def packages() -> dict[str, str]:
    """Version of every installed distribution by its normalised name, sorted.

    Read from the names of their folders: opening the metadata of each takes a second.
    """
    found: dict[str, str] = {}
    for place in dict.fromkeys(path or "." for path in sys.path):
        for entry in _metadata_folders(Path(place)):
            match = _DIST.fullmatch(entry.name)
            if match:
                name, version = match["name"], match["version"]
            else:  # made by an old setuptools, in a source tree: the version stands inside only
                name = entry.name.rpartition(".")[0]
                version = importlib.metadata.Distribution.at(entry).metadata["Version"] or "unknown"
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return dict(sorted(found.items()))


def _metadata_folders(place: Path) -> list[Path]:
    try:
        return [entry for entry in place.iterdir() if entry.name.endswith((".dist-info", ".egg-info"))]
    except OSError:  # a zip file, or a folder that is not there
        return []


def _interpreter_kind() -> str:
    if (Path(sys.prefix) / "conda-meta").is_dir():
        return "conda"
    return "venv" if sys.prefix != sys.base_prefix else "system"


def _built_with(key: str) -> str | None:
    found = re.search(rf"\b{key}=([^,\s]+)", torch.__config__.show())
    return found.group(1) if found else None


def _cpu_model() -> str | None:
    text = _text_of(Path("/proc/cpuinfo")) or ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):  # names that this system does not have
        return None


def _driver() -> str | None:
    found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", _text_of(Path("/proc/driver/nvidia/version")) or "")
    return found.group(1) if found else None


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
