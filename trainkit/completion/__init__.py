"""Tab completion: the shells' scripts, and ``complete``, which they ask through ``trainkit --complete``."""

from trainkit.completion.complete import complete
from trainkit.completion.scripts import SHELLS, script

__all__ = ["SHELLS", "complete", "script"]
