"""The installed version, as run directories record it."""

import importlib.metadata

VERSION = importlib.metadata.version("trainkit-lightning")
