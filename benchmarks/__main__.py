"""``python -m benchmarks throughput|startup|sweep|checkpoint|process [--json FILE] [--repeats N]``, or ``summary``."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

from benchmarks.measuring import Row, machine

NAMES = ("throughput", "startup", "sweep", "checkpoint", "process")


def line(row: Row) -> str:
    """A row for people."""
    spread = "" if row.spread is None else f" ({row.spread[0]:,.4g} to {row.spread[1]:,.4g})"
    ratio = "" if row.ratio is None else f"  {row.ratio:.2f} × {row.bar}"
    return f"{row.case}: {row.who}: {row.what} {row.value:,.4g} {row.unit}{spread}{ratio}"


def main() -> None:
    """Measures, prints and perhaps writes rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=(*NAMES, "summary"))
    parser.add_argument("--json", type=Path, help="where to write the rows")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each, of which the median counts")
    asked = parser.parse_args()
    if asked.name == "summary":
        print(*importlib.import_module("benchmarks.summary").lines(), sep="\n")
        return
    rows: list[Row] = importlib.import_module(f"benchmarks.{asked.name}").run(asked.repeats)
    for row in rows:
        print(line(row))
    print(machine())
    if asked.json:
        written = [row.to_json() | {"machine": machine()} for row in rows]
        asked.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
