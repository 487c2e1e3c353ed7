"""Imports of trainkit point downward, packages of one layer do not import each other, and there is no cycle."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "trainkit"

LAYERS = (
    ("errors", "types"),
    ("config", "rundir"),
    ("data", "models", "optim", "evaluation"),
    ("tasks", "training"),
    ("runs",),
    ("studies",),
    ("planning", "deploy", "reports"),
    ("cli", "api", "completion", "listing", "project", "__init__", "__main__"),
)
LAYER_OF = {unit: layer for layer, units in enumerate(LAYERS) for unit in units}
SIDEWAYS = {
    ("config", "rundir"),
    ("training", "tasks"),
    ("cli", "api"),
    ("cli", "__init__"),
    ("completion", "listing"),
    ("__init__", "api"),
    ("__init__", "project"),
    ("__main__", "cli"),
}
"""The imports within one layer that are allowed: (importer, imported)."""


class Import(NamedTuple):
    """One import statement: who (module), what (module or package), and where."""

    importer: str
    imported: str
    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.importer} imports {self.imported}"


def read_tree(source: Path) -> dict[str, Path]:
    """Modules by dotted name; a package is its ``__init__.py``."""
    modules = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imports_of(name: str, modules: dict[str, Path]) -> Iterator[Import]:
    """All imports of trainkit's own modules, also those in functions and under ``TYPE_CHECKING``."""
    path = modules[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    relative_path = path.relative_to(path.parents[len(name.split(".")) - (path.name != "__init__.py")]).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        for target in _targets(node, package):
            while target not in modules and "." in target:
                target = target.rpartition(".")[0]  # the last part is a name inside that module
            if target in modules and target != name:
                yield Import(name, target, relative_path, node.lineno)  # type: ignore[attr-defined]


def _targets(node: ast.AST, package: str) -> Iterable[str]:
    """Dotted names that a node imports, as far down as the statement says."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - level + 1]) if level else ""
            start = ".".join(part for part in (base, module) if part)
            return [f"{start}.{alias.name}" for alias in names]
        case ast.Call(
            func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def unit_of(module: str) -> str:
    """The entry of the layer table that a module belongs to: ``trainkit.data.table`` → ``data``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def violations(source: Path) -> list[str]:
    """One line for each import that points upward or sideways."""
    modules = read_tree(source)
    found = []
    for name in modules:
        for statement in imports_of(name, modules):
            importer, imported = unit_of(statement.importer), unit_of(statement.imported)
            if importer == imported or (importer, imported) in SIDEWAYS:
                continue
            above, below = LAYER_OF[importer], LAYER_OF[imported]
            if above < below:
                found.append(f"{statement}, which is upward (layer {above} → {below})")
            elif above == below:
                found.append(f"{statement}, which is sideways (both in layer {above})")
    return found


def find_cycle(source: Path) -> list[Import]:
    """The imports of one cycle among modules, in order, or an empty list."""
    modules = read_tree(source)
    edges = {name: list(imports_of(name, modules)) for name in modules}
    done: set[str] = set()

    def search(name: str, trail: list[Import]) -> list[Import]:
        for statement in edges[name]:
            names = [step.importer for step in trail] + [name]
            if statement.imported in names:
                return [*trail, statement][names.index(statement.imported) :]
            if statement.imported not in done and (cycle := search(statement.imported, [*trail, statement])):
                return cycle
        done.add(name)
        return []

    return next((cycle for name in edges if (cycle := search(name, []))), [])


def test_every_module_has_a_layer() -> None:
    missing = {unit_of(module) for module in read_tree(SOURCE)} - LAYER_OF.keys()
    assert not missing, f"add to LAYERS: {sorted(missing)}"


def test_imports_point_downward() -> None:
    assert not violations(SOURCE), "\n" + "\n".join(violations(SOURCE))


def test_no_import_cycle() -> None:
    assert not find_cycle(SOURCE), "\n" + "\n".join(map(str, find_cycle(SOURCE)))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A clean package with the modules the tests below add statements to."""
    source = tmp_path / "trainkit"
    for name in ("data/table", "models/mlp", "training/module", "tasks/base", "errors"):
        path = source / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        (path.parent / "__init__.py").touch()
    return source


@pytest.mark.parametrize(
    "statement",
    [
        "import trainkit.training.module",
        "from trainkit.training import module",
        "from trainkit.training.module import TrainModule",
        "from ..training.module import TrainModule",
        "def f():\n    from trainkit.training import TrainModule",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from trainkit.training.module import TrainModule",
        "import importlib\nimportlib.import_module('trainkit.training.module')",
    ],
)
def test_an_upward_import_is_found_wherever_it_stands(tree: Path, statement: str) -> None:
    (tree / "data/table.py").write_text(statement)
    (found,) = violations(tree)
    line = statement.count("\n") + 1
    assert found.startswith(f"trainkit/data/table.py:{line}: trainkit.data.table imports trainkit.training")
    assert found.endswith("which is upward (layer 2 → 3)")


def test_downward_and_allowed_sideways_imports_pass(tree: Path) -> None:
    (tree / "training/module.py").write_text("from trainkit.tasks.base import Task\nfrom ..data import table\n")
    (tree / "data/table.py").write_text("from trainkit import errors\nimport torch\n")
    assert violations(tree) == []
    assert find_cycle(tree) == []


def test_a_sideways_import_and_one_from_the_top_are_found(tree: Path) -> None:
    (tree / "data/table.py").write_text("from trainkit.models.mlp import MLP\nfrom trainkit import __version__\n")
    assert violations(tree) == [
        "trainkit/data/table.py:1: trainkit.data.table imports trainkit.models.mlp, "
        "which is sideways (both in layer 2)",
        "trainkit/data/table.py:2: trainkit.data.table imports trainkit, which is upward (layer 2 → 7)",
    ]


def test_a_cycle_is_found_with_its_lines(tree: Path) -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        text = f"def f():\n    from trainkit.data.{other} import x\n"
        (tree / f"data/{name}.py").write_text(textwrap.dedent(text))
    lines = [str(statement) for statement in find_cycle(tree)]
    assert lines == [
        "trainkit/data/a.py:2: trainkit.data.a imports trainkit.data.b",
        "trainkit/data/b.py:2: trainkit.data.b imports trainkit.data.c",
        "trainkit/data/c.py:2: trainkit.data.c imports trainkit.data.a",
    ]
