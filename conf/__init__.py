"""The YAMLs that ``trainkit fit`` composes; part of the wheel as ``trainkit.conf``."""
