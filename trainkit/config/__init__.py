"""Configs: their schema, their composition by Hydra, and the checks made before anything is built.

Importing this package imports no torch; ``register`` is called by ``import trainkit``.
"""

from __future__ import annotations

from trainkit.config.resolvers import register_resolvers
from trainkit.config.schema import register_schema


def register() -> None:
    """Makes the schema and the resolvers known to Hydra and OmegaConf; may be called again."""
    register_schema()
    register_resolvers()
