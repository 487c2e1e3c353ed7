"""Bad cells of tables: missing, infinite, huge, mixed, constant, and targets that cannot be learned."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd

from tests.faults.tables import ROWS, frame, good, parquet, text

ROW = np.arange(ROWS)


def _y(values: Any) -> pd.DataFrame:
    return good().assign(y=values)


def _x(values: Any) -> pd.DataFrame:
    return good().assign(age=values)


FEATURES = [
    frame("all missing", good().assign(age=np.nan, city=None), "", short=True),
    frame("one column all missing", _x(np.nan), None),
    frame("constant features", good().assign(age=1, city="a"), "", short=True),
    frame("infinite", _x(np.where(ROW == 3, np.inf, ROW)), "", short=True),
    frame("all infinite", _x(np.inf)),
    frame("1e308", _x(np.where(ROW % 2, 1e308, -1e308)), "", short=True),
    frame("1e308 once", _x(np.where(ROW == 5, 1e308, ROW))),
    frame("1e39 once", _x(np.where(ROW == 5, 1e39, ROW))),
    frame("tiny", _x(ROW * 1e-310), "", short=True),
    frame("10**30", _x([str(10**30 + int(i)) for i in ROW]), ""),
    frame("10**400", _x(["1" + "0" * 400 if i % 2 else "2" for i in ROW]), "", short=True),
    frame("integers of 5,000 digits", _x(["9" * 5000 if i % 2 else "2" for i in ROW]), "", short=True),
    frame("1e999", _x(["1e999" if i % 7 == 0 else str(i) for i in ROW])),
    frame("large and close", _x(1e15 + ROW * 0.25), None),
    frame("mixed", _x([("a", 1, 2.5, None, "1,5", "True")[i % 6] for i in ROW]), None, short=True),
    frame("decimal commas", _x([f"{i},5" for i in ROW]), "", short=True),
    frame("thousands separators", _x([f"{i + 1},000" for i in ROW])),
    frame("units", _x([f"{i} kg" for i in ROW])),
    frame("per cent", _x([f"{i}%" for i in ROW])),
    frame("hexadecimal", _x([hex(int(i)) for i in ROW])),
    frame("categories like numbers", _x([f"0{i % 4}" for i in ROW]), None),
    frame("long texts", _x([f"{i}" + "x" * 200_000 for i in ROW]), ""),
    frame("line breaks in cells", _x([f"a\nb{i % 3}" for i in ROW]), None),
    frame("words for missing", _x([("NA", "null", "?", "-", "None", "missing")[i % 6] for i in ROW]), None),
    frame("dates out of range", _x([f"{i:04d}-13-45" for i in ROW])),
    frame(
        "dates of year 0 and 9999", _x([("0000-01-01", "9999-12-31", "0001-01-01")[i % 3] for i in ROW]), "", short=True
    ),
    frame("dates of two orders", _x([("01/31/2024", "31/01/2024")[i % 2] for i in ROW])),
    frame("dates and texts", _x([("2024-01-31", "soon")[i % 2] for i in ROW]), None),
    frame("times with zones", _x([f"2024-01-{i % 28 + 1:02d}T00:00:00+0{i % 9}:00" for i in ROW])),
    frame("one date", _x("2024-02-30")),
    frame("rank of a constant", _x(np.where(ROW == 3, 2, 1)), "", "data.numbers=quantile", short=True),
    frame("rank of huge numbers", _x(np.where(ROW % 2, 1e300, -1e300)), "", "data.numbers=quantile"),
    parquet("complex", good().assign(age=[f"{i}+1j" for i in ROW]), None),
    parquet("lists", _x([[1, 2]] * ROWS), None, short=True),
    parquet("dicts", _x([{"a": 1}] * ROWS)),
    parquet("bytes", _x([b"\xff\x00"] * 30 + [b"a"] * 30)),
    parquet("durations", _x(pd.to_timedelta(ROW, unit="D")), None),
    parquet("times of day", _x([datetime.time(int(i) % 24) for i in ROW])),
    parquet("decimals", _x(pd.array(ROW, dtype="Int64")), None),
    parquet("intervals", _x(pd.cut(ROW, 4).astype(str)), None),
    parquet("unsigned 64 bits", _x(np.uint64(2**64 - 1) - ROW.astype(np.uint64))),
    parquet("two columns of one text", good().rename(columns={"age": "1"}).assign(**{"1.0": ROW}), None),
    parquet("no columns", pd.DataFrame(index=range(ROWS)), "", short=True),
    parquet("no rows", good(0), "no rows"),
    parquet("dates beyond nanoseconds", _x(np.array(["3000-01-01"] * ROWS, dtype="datetime64[s]") + ROW), ""),
]
TARGETS = [
    frame("missing target", _y(["yes", None] * 30), "missing", short=True),
    frame("all of the target missing", _y(None), "", short=True),
    frame("constant target", _y("yes"), "one class only", short=True),
    frame("constant number", _y(2.5), "one class only"),
    frame("all different", _y([f"id{i}" for i in ROW]), "different class", short=True),
    frame("target infinite", _y(np.where(ROW == 3, np.inf, ROW + 0.5)), "finite", short=True),
    frame("target 1e300", _y(np.where(ROW == 3, 1e300, ROW + 0.5)), "", short=True),
    frame("target 1e38", _y(np.where(ROW % 2, 1e38, -1e38) + ROW), "", short=True),
    frame("target 1e30 and close", _y(1e30 + ROW * 1e25), ""),
    frame("target tiny", _y(ROW * 1e-300 + 1e-305), "", short=True),
    frame("target tiny, 1e-40", _y((ROW + 0.5) * 1e-40), ""),
    frame("target nearly constant", _y(1e9 + ROW * 1e-4), "", short=True),
    frame("target of 10**400", _y(["1" + "0" * 400 if i % 2 else "2" for i in ROW])),
    frame("target of 10**400 as a number", _y([str(i) + "0" * 400 for i in ROW]), "", "data.target_kind=number"),
    frame("target boolean", _y(ROW % 2 == 0), None),
    frame("target boolean and texts", _y([(True, "maybe")[i % 2] for i in ROW]), None),
    frame("target in unicode", _y([("\u202e是", "🙂\u200b")[i % 2] for i in ROW]), None),
    frame("target of long texts", _y([("a" * 50_000, "b" * 50_000)[i % 2] for i in ROW]), "", short=True),
    frame("target of line breaks", _y([("a\nb", "a\nc")[i % 2] for i in ROW]), None, short=True),
    frame("class of one row", _y(["rare"] + ["yes", "no"] * 29 + ["no"]), "", short=True),
    frame("thirty classes of two", _y([f"c{i % 30}" for i in ROW])),
    frame("target of dates", _y([f"2024-01-{i % 28 + 1:02d}" for i in ROW]), "", short=True),
    frame("target of mixed numbers and texts", _y([(1, "one")[i % 2] for i in ROW]), None),
    frame("target mostly numbers", _y([str(i + 0.5) for i in ROW[:-1]] + ["n/k"]), "", short=True),
    frame("target with decimal commas", _y([f"{i},5" for i in ROW]), "", short=True),
    frame("target like numbers", _y([("01", "1")[i % 2] for i in ROW]), "one class only", short=True),
    frame("class as a number", good(), "", "data.target_kind=number", short=True),
    frame("number as a class", _y(ROW + 0.5), "different class", "data.target_kind=class"),
    frame("unknown kind", good(), "", "data.target_kind=klass", short=True),
    frame("several targets of classes", good().assign(z="a"), "", "data.target=[y,z]", short=True),
    frame("several targets, one constant", _y(ROW + 0.5).assign(z=1.5), "", "data.target=[y,z]", short=True),
    frame("several targets, one missing", _y(ROW + 0.5).assign(z=np.nan), "", "data.target=[y,z]"),
    frame("several labels, one constant", _y(ROW % 2).assign(z=1), "", "data.target=[y,z]", short=True),
    frame("several labels, one seldom", _y(ROW % 2).assign(z=(ROW == 0) * 1), "", "data.target=[y,z]", short=True),
    parquet("target of lists", _y([[1]] * ROWS), "nested", short=True),
    parquet("target of categories", _y(pd.Categorical(["a", "b"] * 30, categories=["a", "b", "never"])), None),
    parquet("target of durations", _y(pd.to_timedelta(ROW, unit="s")), ""),
    parquet("target of complex texts", _y([f"{i % 3}j" for i in ROW]), None),
    text("target in a quoted block", 'age,y\n"1,yes\n2,no\n3,yes"\n', ""),
]
ROLES = [
    frame("group of its own for each row", good().assign(g=ROW), None, "data.group=g"),
    frame("one group", good().assign(g=1), "", "data.group=g", short=True),
    frame("two groups", good().assign(g=ROW % 2), "", "data.group=g", short=True),
    frame("missing groups", good().assign(g=np.where(ROW % 3, np.nan, ROW)), "", "data.group=g", short=True),
    frame("group is the target", good(), "target", "data.group=y"),
    frame("no such group", good(), "no column", "data.group=grp"),
    frame("one moment", good().assign(when="2024-01-01"), "", "data.time=when", short=True),
    frame("missing moments", good().assign(when=["2024-01-01", ""] * 30), "", "data.time=when"),
    frame("moments of texts", good().assign(when=["soon", "later"] * 30), "", "data.time=when", short=True),
    frame("infinite moments", good().assign(when=np.where(ROW == 2, np.inf, ROW)), "", "data.time=when", short=True),
    frame("time and group", good().assign(when=ROW, g=ROW % 7), "", "data.time=when", "data.group=g", short=True),
    frame("time and folds", good().assign(when=ROW), "", "data.time=when", "data.folds=3", "data.fold=0"),
    frame("negative weights", good().assign(w=-1.0), "", "data.weight=w", short=True),
    frame("weights of 0", good().assign(w=0), "", "data.weight=w", short=True),
    frame("missing weights", good().assign(w=["1", ""] * 30), "", "data.weight=w"),
    frame("infinite weights", good().assign(w=np.where(ROW == 2, np.inf, 1)), "", "data.weight=w", short=True),
    frame("huge weights", good().assign(w=1e300), "", "data.weight=w", short=True),
    frame("tiny weights", good().assign(w=1e-300), "", "data.weight=w", short=True),
    frame("weights of texts", good().assign(w="a"), "", "data.weight=w"),
    frame("weight of all but one row is 0", good().assign(w=(ROW == 7) * 1), "", "data.weight=w"),
]
