from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from trainkit.config.targets import FACTORIES, judge_config, resolve_judged, resolve_target, targets_of
from trainkit.errors import ConfigError

NOT_ALLOWED = (
    "  expected a net, optimizer, schedule, data set, data module, callback, logger, metric or estimator class"
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of the user's that leaves a trace when it is imported."""
    folder = tmp_path / "userpkg"
    folder.mkdir()
    (folder / "__init__.py").write_text("import torch, os\nfrom userpkg.net import net\n")
    (folder / "net.py").write_text("import torch\nclass Net(torch.nn.Module): ...\ndef net(): ...\n")
    (folder / "broken.py").write_text("import not_there_at_all\n")
    (folder / "typo.py").write_text("def f(:\n")
    (folder / "lazy.py").write_text(
        "def __getattr__(name):\n    if name == 'Net':\n        import not_there_at_all\n"
        "    raise AttributeError(name)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "userpkg"]:
        monkeypatch.delitem(sys.modules, name)
    return "userpkg"


def test_resolves_classes_functions_and_modules() -> None:
    assert resolve_target("torch.nn.Linear") is torch.nn.Linear
    assert resolve_target("torch.nn.functional.relu") is torch.nn.functional.relu
    assert resolve_target("torch.nn") is torch.nn


def test_an_attribute_comes_before_a_submodule_of_its_name(package: str) -> None:
    assert resolve_target("userpkg.net") is sys.modules["userpkg.net"].net


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("torch.nn.Liner", "'torch.nn' has no 'Liner'\n  where    model._target_\n  hint     did you mean 'Linear'?"),
        ("torch.optm.SGD", "'torch' has no 'optm'\n  where    model._target_\n  hint     did you mean 'optim'?"),
        ("trainkt.Net", "no module 'trainkt' for 'trainkt.Net'\n  where    model._target_\n"
                        "  hint     did you mean 'trainkit'?"),
        ("zzqq.Net", "no module 'zzqq' for 'zzqq.Net'\n  where    model._target_\n"
                     "  hint     is it installed, or in the working directory?"),
        ("my net", "'my net' is not the name of a class or function\n  where    model._target_\n"
                   "  expected a dotted name such as mypkg.nets.Net"),
        ("", "'' is not the name of a class or function\n  where    model._target_\n"
             "  expected a dotted name such as mypkg.nets.Net"),
        ("torch.nn.Linear.forwrd", "'torch.nn.Linear' has no 'forwrd'\n  where    model._target_\n"
                                   "  hint     did you mean 'forward'?"),
    ],
)  # fmt: skip
def test_a_name_that_does_not_resolve(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_target(name, "model._target_")
    assert str(caught.value) == text


@pytest.mark.parametrize("name", ["userpkg.broken.Net", "userpkg.lazy.Net"])
def test_an_import_that_fails_inside_the_module_is_reported_with_its_cause(package: str, name: str) -> None:
    with pytest.raises(ConfigError, match="failed: ModuleNotFoundError: No module named 'not_there_at_all'") as caught:
        resolve_target(name)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_module_with_a_syntax_error_is_reported(package: str) -> None:
    with pytest.raises(
        ConfigError, match=r"importing 'userpkg.typo' for 'userpkg.typo.Net' failed: SyntaxError: .*line 1"
    ):
        resolve_target("userpkg.typo.Net")


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.Linear",
        "torch.optim.AdamW",
        "torch.optim.lr_scheduler.StepLR",
        "torch.utils.data.TensorDataset",
        "torchvision.datasets.FakeData",
        "sklearn.linear_model.LogisticRegression",
        "lightning.pytorch.LightningDataModule",
        "lightning.pytorch.callbacks.EarlyStopping",
        "lightning.pytorch.loggers.TensorBoardLogger",
        "trainkit.models.MLP",
        "trainkit.optim.cosine",
        "trainkit.models.classical.random_forest",
        "torch.nn.CrossEntropyLoss",
        "torch.nn.functional.huber_loss",
        "torchmetrics.classification.MulticlassF1Score",
        "torchmetrics.F1Score",
        "torchmetrics.regression.PearsonCorrCoef",
    ],
)
def test_allowed_kinds(name: str) -> None:
    assert resolve_judged(name) is resolve_target(name)


@pytest.mark.parametrize("name", FACTORIES)
def test_functions_of_the_list(name: str) -> None:
    assert resolve_judged(name) is resolve_target(name)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("torch.nn.functional.torch.hub.load", "torch.hub.load"),
        ("torch.hub.load", "torch.hub.load"),
        ("torch.load", "torch.serialization.load"),
        ("torch.os.system", "posix.system"),
        ("torch.nn.functional.relu", "torch.nn.functional.relu"),
        ("torch.nn.Linear.forward", "torch.nn.modules.linear.Linear.forward"),
        ("torch.nn.Module.load_state_dict", "torch.nn.modules.module.Module.load_state_dict"),
        ("torch.Tensor", "torch.Tensor"),
        ("trainkit.errors.did_you_mean", "trainkit.errors.did_you_mean"),
        ("trainkit.models.classical.inspect.getsource", "inspect.getsource"),
        ("torchmetrics.MetricCollection", "torchmetrics.collections.MetricCollection"),
        ("torchmetrics.text.Perplexity", "torchmetrics.text.perplexity.Perplexity"),
        ("torchmetrics.utilities.data.dim_zero_cat", "torchmetrics.utilities.data.dim_zero_cat"),
    ],
)
def test_the_object_decides_not_the_name(name: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_judged(name)
    assert str(caught.value) == f"'{name}' is {found}, which a run directory may not name\n{NOT_ALLOWED}"


def test_a_module_is_not_allowed() -> None:
    with pytest.raises(ConfigError, match=r"'torch\.nn' is a module, which a run directory may not name"):
        resolve_judged("torch.nn")


def test_a_strange_package_is_refused_before_it_is_imported(package: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_judged("userpkg.Net", where="model._target_")
    assert "userpkg" not in sys.modules
    assert str(caught.value) == (
        "'userpkg.Net' is not code that trainkit runs unasked\n"
        "  where    model._target_\n"
        "  expected a class of trainkit, torch, torchvision, torchmetrics, lightning, sklearn, "
        "or of a package you trust\n"
        "  hint     if you trust it: trust=['userpkg'], on the command line --trust userpkg"
    )


def test_hidden_modules_are_refused_before_they_are_imported() -> None:
    with pytest.raises(ConfigError, match="is not code that trainkit runs unasked"):
        resolve_judged("torch.utils.bottleneck.__main__.main")
    assert "torch.utils.bottleneck.__main__" not in sys.modules


def test_a_trusted_package_may_be_named_but_lends_its_trust_to_no_other(package: str) -> None:
    assert resolve_judged("userpkg.net", trust=["userpkg"]).__name__ == "net"
    assert resolve_judged("userpkg.torch.nn.Linear", trust=["userpkg"]) is torch.nn.Linear
    for name in ("userpkg.torch.hub.load", "userpkg.os.system"):
        with pytest.raises(ConfigError, match="which a run directory may not name"):
            resolve_judged(name, trust=["userpkg"])


def test_a_class_that_only_claims_to_be_a_net_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = type("Module", (), {"__module__": "torch.nn.modules.module"})
    monkeypatch.setattr(torch, "fake", fake, raising=False)
    with pytest.raises(ConfigError, match="which a run directory may not name"):
        resolve_judged("torch.fake")


def test_targets_are_found_anywhere() -> None:
    cfg = OmegaConf.create(
        {
            "name": "torch.nn.Tanh",
            "model": {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "torch.nn.ReLU"}]},
            "callbacks": {"a": {"deep": {"er": {"_target_": "${name}"}}}},
        }
    )
    assert list(targets_of(cfg)) == [
        ("model._target_", "torch.nn.Sequential"),
        ("model._args_[0]._target_", "torch.nn.ReLU"),
        ("callbacks.a.deep.er._target_", "torch.nn.Tanh"),
    ]


def test_judge_config_names_the_nested_target() -> None:
    judge_config({"model": {"_target_": "torch.nn.Linear", "extra": {"_target_": "???"}}})
    bad = {"model": {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "os.system", "command": "x"}]}}
    with pytest.raises(ConfigError) as caught:
        judge_config(bad)
    assert caught.value.where == "model._args_[0]._target_"
    with pytest.raises(ConfigError, match="the _target_ 3 is not a name"):
        judge_config({"model": {"_target_": 3}})
