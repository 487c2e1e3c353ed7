"""The frame of an HTML page that needs nothing but itself: style sheet, escaping, a few elements."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources


class Markup(str):
    """Text that is HTML already; everything else is escaped when it enters a page."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Text for an element or a quoted attribute; ``Markup`` passes unchanged."""
    return text if isinstance(text, Markup) else Markup(html.escape(str(text)))


def element(tag: str, *children: object, **attributes: str | None) -> Markup:
    """``<tag attributes>children</tag>``, children escaped.

    Args:
        tag: Name of the element.
        *children: Text, or ``Markup`` from this module.
        **attributes: A trailing underscore is dropped (``class_``), others become hyphens; None is left out.

    Returns:
        The element.
    """
    given = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    opening = "".join(f' {name}="{escape(value)}"' for name, value in given.items())
    return Markup(f"<{tag}{opening}>{join(children)}</{tag}>")


def join(parts: Iterable[object]) -> Markup:
    """Parts one after the other, each escaped."""
    return Markup("".join(escape(part) for part in parts))


def section(title: str, *children: object, note: str | None = None) -> Markup:
    """A section with its heading and, below it, one line of explanation."""
    explanation = element("p", note, class_="note") if note else ""
    return element("section", element("h2", title), explanation, *children)


def table(header: Sequence[object], rows: Iterable[Sequence[object]], *, class_: str | None = None) -> Markup:
    """A table whose first column names its rows."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    )
    filled = element("table", element("thead", head), element("tbody", *body), class_=class_)
    return element("div", filled, class_="scroll")


def definitions(values: Mapping[str, object]) -> Markup:
    """Names and values in two columns."""
    pairs = (element("div", element("dt", name), element("dd", value)) for name, value in values.items())
    return element("dl", *pairs)


def document(title: str, *body: object) -> str:
    """A whole page; its policy forbids the browser to load anything from elsewhere."""
    style = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{join(body)}\n</main>\n</body>\n</html>\n"
    )
