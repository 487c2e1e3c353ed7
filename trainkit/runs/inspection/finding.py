"""What a look before the run says: findings that ask for a change, and notes that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Facts = TypeVar("Facts")

Rule = Callable[[Facts], "Iterator[Finding]"]
"""Looks at plain facts and yields what is wrong with them; adding one means one function and its name in a table."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        name: Of the rule that found it, such as ``shared_rows``.
        severity: ``error`` where a run's result would mean nothing, ``warning`` where it would be worse than need be,
            ``note`` for what is only worth knowing.
        what: One sentence with the numbers.
        where: The config key or part of the run that is at fault.
        hint: What to do about it; empty for a note.
    """

    name: str
    severity: Literal["error", "warning", "note"]
    what: str
    where: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({self.where})" + (f" · {self.hint}" if self.hint else "")


def error(name: str, what: str, where: str, hint: str) -> Finding:
    """A finding that makes a run's result worthless."""
    return Finding(name, "error", what, where, hint)


def warning(name: str, what: str, where: str, hint: str) -> Finding:
    """A finding that makes a run worse than need be."""
    return Finding(name, "warning", what, where, hint)


def note(name: str, what: str, where: str) -> Finding:
    """Something worth knowing that asks for no change."""
    return Finding(name, "note", what, where)


def apply(rules: Sequence[Rule[Facts]], facts: Facts) -> Iterator[Finding]:
    """What the rules of a table find, in its order."""
    for rule in rules:
        yield from rule(facts)


def listed(names: Iterable[str], limit: int = 3) -> str:
    """``a, b, c and 4 more``."""
    every = list(names)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return ", ".join(every[:limit]) + more
