"""Bad tables: what spreadsheets, exports and half-written files look like."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from tests.faults.harness import Fault, Maker

ROWS = 60


def good(rows: int = ROWS) -> pd.DataFrame:
    """Ages, cities and a target that one of them tells."""
    generator = np.random.default_rng(0)
    age = generator.normal(40, 10, rows).round(1)
    city = generator.choice(["Rome", "Oslo"], rows)
    return pd.DataFrame({"age": age, "city": city, "y": np.where(np.arange(rows) % 2, "no", "yes")})


def csv(frame: pd.DataFrame, **options: Any) -> str:
    return str(frame.to_csv(index=False, **options))


def raw(content: bytes | str, name: str = "t.csv") -> Maker:
    """Writes these bytes."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: _write(folder / name, data)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _fault(name: str, make: Maker, says: str | None, *more: str, file: str = "t.csv", short: bool = False) -> Fault:
    return Fault(f"table: {name}", ("data=table", f"data.path={file}", "data.target=y", *more), make, says, short)


def text(name: str, content: bytes | str, says: str | None = "", *more: str, short: bool = False) -> Fault:
    return _fault(name, raw(content), says, *more, short=short)


def frame(name: str, changed: pd.DataFrame, says: str | None = "", *more: str, short: bool = False) -> Fault:
    return _fault(name, raw(csv(changed)), says, *more, short=short)


def parquet(name: str, changed: pd.DataFrame, says: str | None = "", *more: str, short: bool = False) -> Fault:
    def make(folder: Path) -> None:
        changed.to_parquet(folder / "t.parquet")

    return _fault(f"parquet, {name}", make, says, *more, file="t.parquet", short=short)


def named(name: str, file: str, content: bytes, says: str | None = "", short: bool = False) -> Fault:
    return _fault(name, raw(content, file), says, file=file, short=short)


def _with(column: str, values: Iterable[Any]) -> pd.DataFrame:
    return good().assign(**{column: list(values)})


def _zip(content: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("t.csv", content)
    return held.getvalue()


def _png() -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (4, 4)).save(held, "PNG")
    return held.getvalue()


def _folder(folder: Path) -> None:
    (folder / "t.csv").mkdir()


def _lines(change: Callable[[list[str]], list[str]]) -> str:
    return "\n".join(change(csv(good()).splitlines())) + "\n"


GOOD = csv(good())
HALF = [1.0] * 30
FILES = [
    text("empty", "", "empty", short=True),
    text("blank lines", "\n\n  \n", "empty"),
    text("header only", "age,city,y\n", "no rows", short=True),
    text("one row", "age,city,y\n1,a,yes\n", short=True),
    text("two rows", "age,city,y\n1,a,yes\n2,b,no\n"),
    text("three rows", "age,city,y\n1,a,yes\n2,b,no\n3,b,no\n"),
    text("target only", "y\n" + "yes\nno\n" * 30, "", short=True),
    text("byte order mark", b"\xef\xbb\xbf" + GOOD.encode(), None),
    text("utf-16", GOOD.encode("utf-16"), "UTF-8", short=True),
    text("utf-16 without mark", GOOD.encode("utf-16-le")),
    text("latin-1", GOOD.replace("Rome", "Köln").encode("latin-1"), "UTF-8", short=True),
    text("nul bytes", GOOD.replace("Rome", "Ro\0me").encode(), short=True),
    text("only nul bytes", b"\0" * 4000),
    text("nul bytes at the end", GOOD.encode() + b"\0" * 512, "", short=True),
    text("carriage returns", GOOD.replace("\n", "\r"), ""),
    text("windows lines", GOOD.replace("\n", "\r\n"), None),
    text("open quote", GOOD.replace("Rome", '"Rome', 1), short=True),
    text("open quote in the header", GOOD.replace("age", '"age', 1)),
    text("quote inside", GOOD.replace("Rome", 'Ro"me', 1), None),
    text("one row longer", _lines(lambda rows: [*rows[:9], rows[9] + ",1,2", *rows[10:]]), short=True),
    text("one row shorter", _lines(lambda rows: [*rows[:9], "3", *rows[10:]]), "", short=True),
    text("cut in a row", GOOD[:-4], ""),
    text("all rows longer", _lines(lambda rows: [rows[0], *(row + "," for row in rows[1:])])),
    text("header longer", _lines(lambda rows: [rows[0] + ",more", *rows[1:]])),
    text("semicolons", GOOD.replace(",", ";"), "';'", short=True),
    text("tabs", GOOD.replace(",", "\t"), "tab"),
    text("pipes", GOOD.replace(",", "|"), "'|'"),
    text("blanks", GOOD.replace(",", "  ")),
    text("no header", _lines(lambda rows: rows[1:]), "no header"),
    text(
        "no header, target named by its value",
        _lines(lambda rows: rows[1:]),
        "no header",
        "data.target=yes",
        short=True,
    ),
    text("comment first", "# exported\n" + GOOD, ""),
    text("title first", "Export of today,,\n" + GOOD, "", short=True),
    text("separator line of a spreadsheet", "sep=,\n" + GOOD),
    text("html", "<!DOCTYPE html><html><body><h1>404</h1></body></html>\n" * 3, "web page"),
    text("json", '{"age": [1, 2], "y": ["a", "b"]}\n'),
    text("zip", _zip(GOOD), short=True),
    text("png", _png()),
    text("parquet named csv", _parquet := good().to_parquet()),
    text("merge conflict", _lines(lambda rows: [*rows[:5], "<<<<<<< HEAD", *rows[5:], ">>>>>>> main"]), "", short=True),
    _fault("folder", _folder, "folder", short=True),
    named("csv named parquet", "t.parquet", GOOD.encode(), short=True),
    named("cut parquet", "t.parquet", _parquet[:200], short=True),
    named("empty parquet", "t.parquet", b"", "empty"),
    named("unknown ending", "t.xlsx", _zip(GOOD), "extension", short=True),
    named("no ending", "t", GOOD.encode(), "extension"),
    named("csv named gz", "t.csv.gz", GOOD.encode(), short=True),
    named("cut gz", "t.csv.gz", gzip.compress(GOOD.encode())[:100], short=True),
    named("damaged gz", "t.csv.gz", gzip.compress(GOOD.encode())[:60] + b"\xff" * 60),
    named("gz", "t.csv.gz", gzip.compress(GOOD.encode()), None),
    named("gz of nothing", "t.csv.gz", gzip.compress(b""), "empty"),
    named("commas in tsv", "t.tsv", GOOD.encode(), "','", short=True),
    named("tsv", "t.tsv", GOOD.replace(",", "\t").encode(), None),
]
HEADERS = [
    text("two columns of one name", GOOD.replace("age,city", "age,age", 1), "more than one", short=True),
    text("two targets", GOOD.replace("age,city", "age,y", 1), "more than one"),
    text("names that differ by blanks", GOOD.replace("age,city", "age,age ", 1)),
    text("target with blanks about it", GOOD.replace("city,y", "city, y ", 1), "", short=True),
    text("no names", GOOD.replace("age,city,y", ",,y", 1)),
    text("no target name", GOOD.replace("age,city,y", "age,city,", 1), "no column"),
    text("numbers as names", GOOD.replace("age,city", "1,2", 1), None),
    text("long names", GOOD.replace("age", "a" * 100_000, 1), "", short=True),
    text("long target name", GOOD.replace("city,y", "city," + "y" * 20_000, 1)),
    text("unicode names", GOOD.replace("age", "\u202e年齢🎂\u0301", 1), None),
    text("line break in a name", GOOD.replace("age", '"a\nge"', 1), None),
    text("separators in a name", GOOD.replace("age", '"a,g.e=[x]${y}"', 1), None, short=True),
    text("target of other case", GOOD.replace("city,y", "city,Y", 1), "did you mean 'Y'"),
    frame("thousands of columns", pd.concat([good(), pd.DataFrame(np.ones((ROWS, 3000))).cumsum()], axis=1), None),
    frame("ignoring all features", good(), "", "data.ignore=[age,city]", short=True),
    frame("target among the features", good(), "", "data.features=[age,y]", short=True),
    frame("no features", good(), "", "data.features=[]", short=True),
    frame("feature twice", good(), "", "data.features=[age,age]", short=True),
    frame("target twice", good(), "", "data.target=[y,y]"),
    frame("empty list of targets", good(), "", "data.target=[]", short=True),
    frame("target is a number", good(), "", "data.target=3"),
    frame("target is a mapping", good(), "", "data.target={a:1}"),
    frame("target ignored", good(), "", "data.ignore=[y]", short=True),
]
