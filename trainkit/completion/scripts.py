"""The shell functions that ``trainkit --completion SHELL`` prints.

All three keep one contract: ``trainkit --complete WORD…`` gets the words after ``trainkit`` up to the cursor, the last
one perhaps empty, and prints whole words that may stand in the last one's place, one a line. No space follows a word
that ends in ``=``, ``.``, ``/`` or ``,``.
"""

from __future__ import annotations

from importlib import resources

from trainkit.errors import ConfigError, did_you_mean, one_of

SHELLS = ("bash", "zsh", "fish")
"""The shells there is completion for."""


def script(shell: str) -> str:
    """The function to be evaluated by a shell.

    Args:
        shell: One of ``SHELLS``.

    Raises:
        ConfigError: There is none for this shell.
    """
    if shell not in SHELLS:
        what = f"there is no completion for '{shell}'"
        raise ConfigError(what, where="--completion", expected=one_of(SHELLS), hint=did_you_mean(shell, SHELLS))
    return resources.files("trainkit.completion").joinpath(f"trainkit.{shell}").read_text(encoding="utf-8")
