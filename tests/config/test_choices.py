from __future__ import annotations

import os
from pathlib import Path

import pytest
from omegaconf import DictConfig

from trainkit.config.app import run_app
from trainkit.config.choices import config_directories, find_choices
from trainkit.config.compose import compose, group_choices
from trainkit.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an unmarked ``conf/`` and a second directory of YAMLs."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "conf/model/net.yaml": "\n# My net.\n# More of it.\n_target_: mine.Net\n",
        "conf/model/_shared.yaml": "width: 3\n",
        "conf/hydra/job_logging/own.yaml": "version: 1\n",
        "conf/hydra/own.yaml": "a: 1\n",
        "conf/train.yaml": "defaults: [fit]\n",
        "more/model/net.yaml": "width: 8  # not what it is\n",
        "more/sound/loud.yaml": "#Loud.\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_choices_are_hydras(folder: Path) -> None:
    (folder / "conf" / ".trainkit").touch()
    found = {group: sorted({choice.name for choice in choices}) for group, choices in find_choices("more").items()}
    assert found == {group: sorted(names) for group, names in group_choices("more").items()}


def test_only_a_marked_conf_counts(folder: Path) -> None:
    assert not any(choice.is_own for choices in find_choices().values() for choice in choices)
    (folder / "conf" / ".trainkit").touch()
    (own,) = [choice for choices in find_choices().values() for choice in choices if choice.is_own]
    assert (own.group, own.name, own.about, own.path) == ("model", "net", "My net.", Path("conf/model/net.yaml"))
    assert own.hidden_by is None


def test_the_first_directory_wins_as_it_does_in_hydra(folder: Path) -> None:
    (folder / "conf" / ".trainkit").touch()
    first, second = [choice for choice in find_choices("more")["model"] if choice.name == "net"]
    assert (first.path, first.hidden_by, first.about) == (Path("conf/model/net.yaml"), None, "My net.")
    assert (second.path, second.hidden_by, second.about) == (Path("more/model/net.yaml"), first.path, "")
    seen: list[DictConfig] = [compose(["model=net"], "more")]
    run_app(["--config-dir", "more", "model=net"], seen.append)
    seen.append(compose(["model=net"], "more"))  # also after Hydra's own command line has run in this process
    assert [cfg.model for cfg in seen] == [{"_target_": "mine.Net"}] * 3
    (folder / "more" / "model" / "mlp.yaml").write_text("_target_: mine.MLP\n")
    assert compose(["model=mlp"], "more").model._target_ == "trainkit.models.MLP"
    hidden = {choice.name: choice.hidden_by for choice in find_choices("more")["model"] if choice.is_own}
    assert hidden["mlp"] is not None


def test_directories_are_searched_in_order_and_once(folder: Path) -> None:
    (folder / "conf" / ".trainkit").touch()
    shipped, local, more = config_directories("more")
    assert (shipped / "fit.yaml").is_file() and (local, more) == (Path("conf"), Path("more"))
    assert config_directories(os.path.abspath("conf")) == [shipped, Path("conf")]


def test_a_missing_directory_is_a_mistake(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_choices("mroe")
    assert str(caught.value) == "no directory 'mroe'\n  where    --config-dir"


def test_a_group_of_the_users_own_is_a_group(folder: Path) -> None:
    (choice,) = find_choices("more")["sound"]
    assert (choice.name, choice.about, choice.is_own) == ("loud", "Loud.", True)
