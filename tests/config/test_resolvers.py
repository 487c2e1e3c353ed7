from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from trainkit.config.compose import compose
from trainkit.config.resolvers import active_spec, job_hash
from trainkit.errors import ConfigError


def test_spec_stands_as_text_until_the_data_is_known() -> None:
    cfg = OmegaConf.create({"model": {"classes": "${spec:num_classes}"}})
    assert cfg.model.classes == "${spec:num_classes}"
    with active_spec({"num_classes": 10}):
        assert cfg.model.classes == 10
        with active_spec({"num_classes": 3}):
            assert cfg.model.classes == 3
        assert cfg.model.classes == 10
    assert OmegaConf.to_container(cfg, resolve=True) == {"model": {"classes": "${spec:num_classes}"}}


def test_spec_ends_after_an_error() -> None:
    cfg = OmegaConf.create({"classes": "${spec:num_classes}"})
    with pytest.raises(KeyError), active_spec({"num_classes": 10}):
        raise KeyError
    assert cfg.classes == "${spec:num_classes}"


def test_spec_of_an_unknown_size_names_the_nearest() -> None:
    from trainkit.config.resolvers import spec

    with active_spec({"num_classes": 10, "in_features": 4}), pytest.raises(ConfigError) as caught:
        spec("num_clases")
    assert str(caught.value) == (
        "the data has no 'num_clases', which ${spec:num_clases} asks for\n"
        "  expected one of in_features, num_classes\n"
        "  hint     did you mean 'num_classes'?"
    )


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        ({"run": {"name": "mine"}, "data": {"name": "digits"}}, "mine"),
        ({"run": {"name": None}, "data": {"name": "digits"}}, "digits"),
        ({"run": {"name": None}, "data": {"name": None, "path": "some/where/churn.csv"}}, "churn"),
        ({"run": {"name": None}, "data": {"path": "???"}}, "run"),
        ({"run": {"name": None}}, "run"),
        ({"run": {"name": None}, "module": {"_target_": "own.GAN"}}, "gan"),
        ({"run": {"name": None}, "data": {"name": "digits"}, "module": {"_target_": "own.GAN"}}, "digits"),
        ({"run": {"name": None}, "module": None}, "run"),
        ({"run": {"name": None}, "module": {"_target_": "???"}}, "run"),
    ],
)
def test_run_name(sections: dict[str, object], name: str) -> None:
    module = "${oc.select:module._target_}"
    called = f"${{trainkit.run_name:${{run.name}},${{oc.select:data.name}},${{oc.select:data.path}},{module}}}"
    assert OmegaConf.create({**sections, "called": called}).called == name


def test_job_hash_is_twelve_hex_digits_of_everything_but_run_and_hydra() -> None:
    plain = job_hash(compose())
    assert len(plain) == 12 and int(plain, 16) >= 0
    assert job_hash(compose(["run.name=other", "run.root=elsewhere"])) == plain
    assert job_hash(compose(["seed=1"])) != plain
    assert job_hash(compose(["optimizer.lr=0.123"])) != plain


def test_job_hash_keeps_spec_unresolved_and_resolves_the_rest() -> None:
    by_spec = OmegaConf.create({"model": {"classes": "${spec:num_classes}", "path": "???"}})
    outside = job_hash(by_spec)
    with active_spec({"num_classes": 10}):
        assert job_hash(by_spec) == outside
    linked = OmegaConf.create({"a": 1, "b": {"c": "${a}"}})
    assert job_hash(linked) == job_hash(OmegaConf.create({"b": {"c": 1}, "a": 1}))


def test_job_hash_of_a_job_with_something_missing() -> None:
    missing = OmegaConf.create({"data": {"path": "???"}, "model": {"file": "${data.path}"}})
    given = OmegaConf.create({"data": {"path": "a.csv"}, "model": {"file": "${data.path}"}})
    assert job_hash(missing) != job_hash(given)
