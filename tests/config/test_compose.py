from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import OmegaConf

from trainkit.config.compose import check_sweep, compose, friendly, group_choices
from trainkit.config.shipped import groups
from trainkit.errors import ConfigError

MODELS = ", ".join(groups()["model"])
ROOT = (
    "one of seed, resume_from, init_from, run, trainer, checkpoint, launch, evaluation, finetune, "
    "data, model, task, optimizer, scheduler, callbacks, logger"
)


def test_the_default_job_has_no_hydra_section() -> None:
    cfg = compose()
    assert "hydra" not in cfg
    assert (cfg.seed, cfg.data.name, cfg.model._target_) == (0, "digits", "trainkit.models.auto")


def test_overrides_and_group_choices() -> None:
    cfg = compose(["model=mlp", "model.hidden=[8]", "seed=3", "+model.extra=1", "optimizer=sgd"])
    assert (cfg.model.hidden, cfg.seed, cfg.model.extra, cfg.optimizer.momentum) == ([8], 3, 1, 0.9)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["sede=1"], "unknown key 'sede'\n  where    sede=1\n  hint     did you mean 'seed'?"),
        (["seed=abc"], "seed cannot be 'abc'\n  where    seed=abc\n  expected an integer"),
        (["seed=null"], "seed cannot be null\n  where    seed=null\n  expected an integer"),
        (["foo=bar"], f"unknown key 'foo'\n  where    foo=bar\n  expected {ROOT}"),
        (["lr=3"], "unknown key 'lr'\n  where    lr=3\n  hint     did you mean 'optimizer.lr'?"),
        (["trainer.max_epoch=3"], "unknown key 'trainer.max_epoch'\n  where    trainer.max_epoch=3\n"
                                  "  hint     did you mean 'trainer.max_epochs'?"),
        (["trianer.max_epochs=3"], "unknown key 'trianer.max_epochs'\n  where    trianer.max_epochs=3\n"
                                   "  hint     did you mean 'trainer.max_epochs'?"),
        (["trainer.max_epochs=x"], "trainer.max_epochs cannot be 'x'\n  where    trainer.max_epochs=x\n"
                                   "  expected an integer or null"),
        (["trainer.deterministic=maybe"], "trainer.deterministic cannot be 'maybe'\n"
                                          "  where    trainer.deterministic=maybe\n  expected true or false"),
        (["trainer={max_epoch:3}"], "unknown key 'trainer.max_epoch'\n  where    trainer={max_epoch:3}\n"
                                    "  hint     did you mean 'trainer.max_epochs'?"),
        (["model=mpl"], "group 'model' has no 'mpl'\n  where    model=mpl\n"
                        f"  expected one of {MODELS}\n  hint     did you mean 'mlp'?"),
        (["modle=mlp"], "unknown key 'modle'\n  where    modle=mlp\n  hint     did you mean 'model'?"),
        (["model=mlp", "model.hiden=3"], "unknown key 'model.hiden'\n  where    model.hiden=3\n"
                                         "  hint     did you mean 'model.hidden'?"),
        (["model.hidden=[3]"], "unknown key 'model.hidden'\n  where    model.hidden=[3]\n  hint     model=mlp has it"),
        (["hydra.foo=1"], "unknown key 'hydra.foo'\n  where    hydra.foo=1"),
        (["trainer=3"], "the choice of a group is a name\n  where    trainer=3"),
        (["seed=1", "model"], "cannot read the override 'model'\n  expected key=value"),
        (["model.hidden=[1,2"], "cannot read the override 'model.hidden=[1,2'\n  expected closed brackets\n"
                                "  hint     quote all of it for the shell: 'model.hidden=[1, 2]'"),
        (["data.path=it's"], "cannot read the override 'data.path=it's'\n  expected key=value\n"
                             "  hint     text with special characters stands in quotes within quotes: "
                             "\"data.path='…'\""),
        (["model=mlp,cnn"], "model has several values\n  where    model=mlp,cnn\n  expected one value\n"
                            "  hint     a sweep over them: add -m"),
        (["run.trust=a,b"], "run.trust has several values\n  where    run.trust=a,b\n  expected one value\n"
                            "  hint     a list: run.trust=[a,b] · a sweep: add -m"),
        (["seed=range(3)"], "a sweep over one run\n  where    seed=range(3)\n"
                            "  hint     add -m to run one job per value"),
        (["+seed=3"], "'seed' exists already\n  where    +seed=3\n  hint     without the plus: seed=3"),
        (["+model=mlp"], "'model' exists already\n  where    +model=mlp\n  hint     without the plus: model=mlp"),
        (["~nothing"], "Could not delete from config. 'nothing' does not exist."),
        (["experiment=digit"], "group 'experiment' has no 'digit'\n  where    experiment=digit\n"
                               "  expected one of breast_cancer, diabetes, digits\n  hint     did you mean 'digits'?"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_overrides(overrides: list[str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    assert str(caught.value) == text


def test_two_mistakes_give_the_first_that_hydra_meets() -> None:
    with pytest.raises(ConfigError, match="group 'model' has no 'mpl'"):
        compose(["sede=1", "model=mpl"])


def test_a_bug_is_no_mistake_of_the_users() -> None:
    assert friendly(KeyError("bug")) is None
    assert friendly(ValueError("bug")) is None


def _config_dir(tmp_path: Path, name: str, text: str) -> str:
    file = tmp_path / "mine" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return str(tmp_path / "mine")


def test_a_directory_of_the_users_own(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    (folder / "net.yaml").write_text("_target_: mynet.Net\nwidth: 3\n")
    cfg = compose(["model=net", "model.width=4"], str(tmp_path / "mine"))
    assert cfg.model == {"_target_": "mynet.Net", "width": 4}
    assert "net" in group_choices(str(tmp_path / "mine"))["model"]
    with pytest.raises(ConfigError) as caught:
        compose(["model=net", "model.widht=4"], str(tmp_path / "mine"))
    assert caught.value.hint == "did you mean 'model.width'?"


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no directory"):
        compose(config_dir=str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("name", "text", "override", "message"),
    [
        ("trainer/mine.yaml", "max_epoch: 3\n", "trainer=mine",
         "unknown key 'trainer.max_epoch'\n  where    trainer/mine.yaml\n"
         "  hint     did you mean 'trainer.max_epochs'?"),
        ("trainer/mine.yaml", "max_epochs: lots\n", "trainer=mine",
         "trainer.max_epochs cannot be 'lots'\n  where    trainer/mine.yaml\n  expected an integer or null"),
        ("experiment/mine.yaml", "# @package _global_\ndefaults:\n  - override /model: mpl\n", "experiment=mine",
         f"group 'model' has no 'mpl'\n  where    fit.yaml\n  expected one of {MODELS}\n"
         "  hint     did you mean 'mlp'?"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_yaml(tmp_path: Path, name: str, text: str, override: str, message: str) -> None:
    config_dir = _config_dir(tmp_path, name, text)
    with pytest.raises(ConfigError) as caught:
        compose([override], config_dir)
    assert str(caught.value) == message


def test_a_yaml_that_cannot_be_read(tmp_path: Path) -> None:
    config_dir = _config_dir(tmp_path, "model/net.yaml", "a: [1\nb: 2\n")
    with pytest.raises(ConfigError, match=r"a YAML cannot be read: .*net.yaml.*line 2"):
        compose(["model=net"], config_dir)


def test_conf_of_the_working_directory_joins_if_it_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "net.yaml").write_text("_target_: mynet.Net\n")
    (tmp_path / "conf" / "model" / "mlp.yaml").write_text("_target_: another.Mlp\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="group 'model' has no 'net'"):
        compose(["model=net"])
    (tmp_path / "conf" / ".trainkit").touch()
    assert compose(["model=net"]).model._target_ == "mynet.Net"
    assert compose(["model=mlp"]).model._target_ == "trainkit.models.MLP"


def _state_of_hydra() -> tuple[object, ...]:
    return GlobalHydra.instance().hydra, JobRuntime.instance().get("name"), VersionBase.instance().getbase()


def test_composing_leaves_a_running_hydra_as_it_is() -> None:
    with hydra.initialize(version_base="1.2", config_path=None):
        before = _state_of_hydra()
        assert compose(["seed=5"]).seed == 5
        assert _state_of_hydra() == before


def test_a_sweep_is_checked_value_by_value() -> None:
    check_sweep(["seed=0,1", "model=mlp,cnn", "trainer.max_epochs=range(1,3)", "optimizer.lr=interval(0,1)"])
    for overrides in (["sede=0,1"], ["seed=0,x"], ["model=mlp,cnnn"], ["model=mlp,cnn", "model.hidden=[1]"]):
        with pytest.raises(HydraException):
            check_sweep(overrides)


PROJECT = {
    "conf/train.yaml": (
        "defaults: [fit, _self_]\nhydra:\n  searchpath: [pkg://trainkit.conf]\nwidth: 8\n"
        "trainer:\n  max_epochs: 3\nmodel:\n  width: ${width}\n"
    ),
    "app.py": (
        "import hydra, sys, trainkit\nfrom omegaconf import OmegaConf\nfrom trainkit.config.compose import compose\n"
        "@hydra.main(version_base='1.3', config_path='conf', config_name='train')\n"
        "def main(cfg):\n"
        "    assert compose(['seed=7']).seed == 7\n"
        "    print(OmegaConf.to_yaml(cfg, resolve=True))\n"
        "    assert 'torch' not in sys.modules\n"
        "main()\n"
    ),
}


def test_a_project_of_the_users_with_fit_in_its_defaults(tmp_path: Path) -> None:
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def run(*overrides: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "app.py", *overrides]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run("seed=4", "optimizer=sgd")
    assert done.returncode == 0, done.stderr
    ours: dict[str, Any] = yaml.safe_load(OmegaConf.to_yaml(compose(["seed=4", "optimizer=sgd"])))
    theirs: dict[str, Any] = yaml.safe_load(done.stdout)
    ours["trainer"]["max_epochs"], ours["model"]["width"], ours["width"] = 3, 8, 8
    assert theirs == ours
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.py", "conf"]
    refused = run("trainer.max_epoch=3")
    assert refused.returncode == 1 and "Key 'max_epoch' not in 'TrainerConfig'" in refused.stderr


def test_a_project_sweeps_into_one_directory_per_job(tmp_path: Path) -> None:
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    command = [sys.executable, "app.py", "-m", "data=digits,wine", "seed=0,1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digits"]
    jobs = [path.name for path in (tmp_path / "runs" / "digits").iterdir() if path.is_dir()]
    assert len(jobs) == 4 and all(len(name) == 12 and int(name, 16) >= 0 for name in jobs)
