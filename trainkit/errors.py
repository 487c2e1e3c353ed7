"""Every error a user can cause: a few lines that say what, where, what was expected, and the nearest valid name.

The command line prints ``told(error)`` and exits with ``error.exit_code``; nothing else in trainkit prints a mistake.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

LONGEST_LINE = 800
"""Characters of a line of a mistake, after which it is cut."""


class TrainkitError(Exception):
    """A mistake of the user's, not of the program's.

    Args:
        what: One sentence that names the mistake and the value that caused it.
        where: The config key, file or argument at fault, for example ``data.target``.
        expected: What would have been accepted.
        hint: What to do instead, for example a nearest valid name.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, expected: str | None = None, hint: str | None = None):
        self.what, self.where, self.expected, self.hint = what, where, expected, hint
        super().__init__(what)

    def __str__(self) -> str:
        named = (("where", self.where), ("expected", self.expected), ("hint", self.hint))
        return "\n".join([cut(self.what), *(f"  {label:<9}{cut(text)}" for label, text in named if text)])

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.expected, self.hint)


def _rebuild(
    kind: type[TrainkitError], what: str, where: str | None, expected: str | None, hint: str | None
) -> TrainkitError:
    return kind(what, where=where, expected=expected, hint=hint)


class ConfigError(TrainkitError):
    """A config key, group, value or ``_target_`` that cannot be used."""


class DataError(TrainkitError):
    """Data that cannot be read, split or learned from."""


class RunError(TrainkitError):
    """A run directory that cannot be used as asked."""


class LaunchError(TrainkitError):
    """Processes or devices that cannot be had."""


def cut(text: str) -> str:
    """A text whose lines are no longer than a mistake may be; a name or a value of a user's may have any length."""
    return "\n".join(f"{line[:LONGEST_LINE]}…" if len(line) > LONGEST_LINE else line for line in text.split("\n"))


def told(error: BaseException) -> str:
    """An error's message, and below it what was added on its way (``BaseException.add_note``)."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """The nearest valid name as a question, or None where nothing is near.

    Args:
        name: What the user wrote.
        candidates: The valid names.

    Returns:
        ``"did you mean 'seed'?"`` or None.
    """
    valid = list(candidates)
    alike = [other for other in valid if other.strip().casefold() == name.strip().casefold()]
    near = alike or difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else None


def near_file(path: Path) -> str | None:
    """The file beside ``path`` with the nearest name as a question; a common ending makes no name near.

    Args:
        path: A file that is not there.

    Returns:
        ``"did you mean 'train.csv'?"`` or None.
    """
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    by_stem = {Path(name).stem: name for name in sorted(names, key=lambda name: (name.endswith(path.suffix), name))}
    near = difflib.get_close_matches(path.stem, by_stem, n=1, cutoff=0.6)
    return f"did you mean '{by_stem[near[0]]}'?" if near else None


def one_of(candidates: Iterable[str], limit: int = 30) -> str:
    """``"one of a, b, c"``, cut after ``limit`` names."""
    names = list(candidates)
    more = f", … ({len(names) - limit} more)" if len(names) > limit else ""
    return "one of " + ", ".join(names[:limit]) + more


def place_of(error: BaseException) -> str:
    """``", net.py:12"``, the last line of the user's own code on the way to an error; empty where there was none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own_file(frame.filename)]
    return f", {own[-1].filename}:{own[-1].lineno}" if own else ""


def _is_own_file(file: str) -> bool:
    """Whether a file is the user's: neither installed nor part of this package."""
    return "site-packages" not in file and not Path(file).is_relative_to(Path(__file__).parent)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip()


DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM}
"""What a disk answers that is full, failing or closed to us."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names a file in what the disk answers while it is written.

    Raises:
        RunError: The disk did not take it.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if (answer := disk_answer(error)) is None:
            raise
        raise unwritten(path, answer) from error


def disk_answer(error: BaseException | None) -> OSError | None:
    """What a disk answered, where that is what an error comes from; torch raises one of its own in its place."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK:
            return error
        error = error.__cause__ or error.__context__
    return None


def unwritten(path: Path, answer: OSError) -> RunError:
    """The error of a file that a disk did not take."""
    hint = "free some space; what was written before is whole" if answer.errno == errno.ENOSPC else None
    return RunError(f"'{path}' cannot be written: {answer.strerror or answer}", where=str(path), hint=hint)
