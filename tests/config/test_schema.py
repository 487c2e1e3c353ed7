from __future__ import annotations

import re

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ValidationError

from trainkit.config.compose import compose
from trainkit.config.schema import LINEAGE, SCHEMA_NAME, SECTIONS, register_schema, schema


@pytest.fixture
def typed() -> DictConfig:
    return OmegaConf.create(schema())


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", "abc"), ("seed", None), ("trainer.max_epochs", 2.5), ("run.trust", "mypkg"), ("checkpoint.keep", None)],
)
def test_values_of_a_wrong_type_are_refused(typed: DictConfig, key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        OmegaConf.update(typed, key, value)


@pytest.mark.parametrize("section", SECTIONS)
def test_unknown_keys_are_refused(typed: DictConfig, section: str) -> None:
    with pytest.raises(ConfigAttributeError, match="not in"):
        OmegaConf.update(typed, f"{section}.nonsense", 1)


def test_two_schemas_share_nothing() -> None:
    first, second = OmegaConf.create(schema()), OmegaConf.create(schema())
    first.run.trust.append("mypkg")
    assert second.run.trust == []


def test_registering_twice_leaves_one_schema() -> None:
    register_schema()
    register_schema()
    assert list(ConfigStore.instance().load(f"{SCHEMA_NAME}.yaml").node) == ["seed", *LINEAGE, *SECTIONS]


@pytest.mark.parametrize("section", SECTIONS)
def test_yaml_and_schema_have_the_same_defaults(section: str) -> None:
    composed = compose()[section]
    if section == "trainer":
        assert composed.channels_last == "auto"
        assert composed.flat_parameters == "auto"
        # As runs had it before there was a choice, which the schema fills in for them.
        composed.channels_last = composed.flat_parameters = False
    assert OmegaConf.to_container(composed) == OmegaConf.to_container(OmegaConf.structured(SECTIONS[section]))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_is_documented_with_its_default(section: str) -> None:
    documented = re.findall(r"^        (\w+): .*?Default ", SECTIONS[section].__doc__ or "", re.MULTILINE | re.DOTALL)
    assert documented == list(OmegaConf.structured(SECTIONS[section]))
