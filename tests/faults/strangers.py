"""Every hostile file that is tried, by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.faults.payloads import (
    FIT,
    FORMS,
    Payload,
    as_checkpoint,
    as_file,
    as_yaml,
    estimator,
    evil_parquet,
    header,
    in_config,
    in_run,
    named_run,
    pointer,
    safetensors,
)

TOUCH = "open('MARKER', 'w')"
NODES: Mapping[str, Any] = {
    "os.system": {"_target_": "os.system", "command": "touch MARKER"},
    "posix.system": {"_target_": "posix.system", "command": "touch MARKER"},
    "subprocess": {"_target_": "subprocess.Popen", "args": ["touch", "MARKER"]},
    "eval": {"_target_": "builtins.eval", "_args_": [TOUCH]},
    "exec": {"_target_": "builtins.exec", "_args_": [TOUCH]},
    "hub": {"_target_": "torch.nn.functional.torch.hub.load", "repo_or_dir": ".", "model": "x", "source": "local"},
    "through trainkit": {"_target_": "trainkit.rundir.os.system", "command": "touch MARKER"},
    "hydra": {"_target_": "hydra.utils.call", "config": {"_target_": "os.system", "command": "touch MARKER"}},
    "hydra in torch": {"_target_": "hydra.utils.get_method", "path": "os.system"},
    "partial": {
        "_target_": "functools.partial",
        "_args_": [{"_target_": "os.system", "_partial_": True}, "touch MARKER"],
    },
    "nested": {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "os.system", "command": "touch MARKER"}]},
    "torch.load": {"_target_": "torch.load", "f": "evil.pt", "weights_only": False},
    "numpy.load": {"_target_": "numpy.load", "file": "evil.npy", "allow_pickle": True},
    "dunder": {"_target_": "torch.nn.Module.__init__.__globals__.os.system", "command": "touch MARKER"},
    "import": {"_target_": "evil_module.Net"},
    "a list": {"_target_": ["os.system"], "command": "touch MARKER"},
}
YAMLS = (
    "evil: !!python/object/apply:os.system ['touch MARKER']\n",
    "evil: !!python/object/new:os.system ['touch MARKER']\n",
    "evil: !!python/name:os.system\n",
    "evil: !!python/module:evil_module\n",
    "evil: !!python/object/apply:builtins.eval [\"open('MARKER', 'w')\"]\n",
    "evil: ${oc.env:HOME}\n",
    "evil: ${oc.create:${oc.env:HOME}}\n",
    "evil: {deep: [{a: '${hydra:runtime.cwd}'}]}\n",
    "evil: ${oc.decode:'x'}\n",
    "evil: ${spec:num_classes}\n",
)
PAYLOADS: dict[str, Payload] = {
    **{f"{verb} {form}": as_checkpoint(form, verb) for form in FORMS for verb in ("run.dir", "resume_from")},
    **{f"splits.npz {form}": in_run(form, "splits.npz") for form in FORMS},
    **{f"model.safetensors {form}": in_run(form, "model.safetensors") for form in FORMS},
    **{f"predictions.parquet {form}": in_run(form, "predictions.parquet") for form in FORMS},
    **{f"model.skops {form}": in_run(form, "model.skops", classical=True) for form in FORMS},
    **{
        f"data.{end} {form}": as_file(form, f"data.{end}", "fit", f"data={kind}", f"data.path=data.{end}", *FIT)
        for form in FORMS
        for end, kind in (
            ("npz", "data=arrays"),
            ("pt", "data=arrays"),
            ("npy", "data=arrays"),
            ("parquet", "data=table"),
        )
    },
    **{
        f"predict {end} {form}": as_file(form, f"new.{end}", "predict", "RUN", f"new.{end}", "-o", "out.csv")
        for form in FORMS
        for end in ("npy", "npz", "parquet", "csv")
    },
    **{
        f"init_from {end} {form}": as_file(
            form, f"w.{end}", "fit", "data=wine", "model=mlp", f"init_from=w.{end}", *FIT
        )
        for form in FORMS
        for end in ("safetensors", "ckpt", "pt")
    },
    **{
        f"{verb} {section} {name}": in_config(section, node, verb)
        for name, node in NODES.items()
        for section, verb in (("model", "evaluate"), ("optimizer", "run.dir"), ("callbacks", "resume_from"))
    },
    **{f"config {text.split(': ', 1)[1][:30].strip()}": as_yaml(text) for text in YAMLS},
    **{f"overrides {text.split(': ', 1)[1][:30].strip()}": as_yaml(text, "overrides.yaml") for text in YAMLS[:5]},
    "override of a target": as_yaml("- model._target_=os.system\n- +model.command='touch MARKER'\n", "overrides.yaml"),
    "metadata spec": safetensors(lambda about: about.update(spec='{"_target_": "os.system"}')),
    "metadata reader": safetensors(lambda about: about.update(reader='{"kind": "os.system"}')),
    "metadata inputs": safetensors(lambda about: about.update(inputs='{"kind": "os.system", "_target_": "os.system"}')),
    "metadata list": safetensors(lambda about: about.update(reader="[1]", inputs="[1]")),
    "metadata deep": safetensors(lambda about: about.update(spec="[" * 100_000)),
    "metadata gone": safetensors(lambda about: about.clear()),
    "header huge": header(b"{}", 1 << 62),
    "header no JSON": header(b"!!python/object"),
    "header offsets": header(b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 99999999]}}'),
    "header deep": header(b'{"a":' * 50_000),
    "skops system": estimator(lambda scene: os.system),
    "skops object": estimator(lambda scene: np.random.RandomState(0)),
    **{
        f"{name} {file}": pointer(name, file)
        for name in ("last.json", "best.json")
        for file in ("../../step-6.ckpt", "FOLDER/step-6.ckpt", "..", "", "a\0b")
    },
    **{f"run.name {name}": named_run(name) for name in ("../../out", "FOLDER/out", "a/../../../out", "..")},
    "parquet metadata": evil_parquet,
}
