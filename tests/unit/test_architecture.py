"""The house, held: imports point one way, each room keeps to its subject, files and functions stay short."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.servers import REPOSITORY

_PACKAGE = REPOSITORY / "worker"
_FILES = sorted(path for path in _PACKAGE.rglob("*.py"))

# Lower rows may not import higher ones; within a row only what `_NEIGHBOURS` lists.
_ROWS = (
    ("domain",),
    ("rendering", "storage"),
    ("intake", "audience", "campaigns", "delivery", "feedback"),
    ("audit",),
    ("web", "cli", "tasks", "station", "bootstrap", "app", "steady", "inbox", "client"),
)
_ROW = {room: number for number, row in enumerate(_ROWS) for room in row}
# An event is committed together with what must happen next; the wiring and the faces know each other.
_NEIGHBOURS = {("intake", "audience"), ("intake", "campaigns")}
_TOP = len(_ROWS) - 1

# Modules at the top of the package that belong to no row: plain helpers. Those on the right may not import upwards.
_ANYWHERE = {"resources", "redaction", "bounds", "__init__"}
_SETTINGS = {"settings", "options"}
_READ_SETTINGS = {"bootstrap", "web", "cli", "app", "tasks", "settings", "options", "station"}
_WIRING = {"publications", "logs", "embedded", "metrics", "crew"}

_SQL = ("sqlalchemy", "sqlite3", "psycopg")
_MOST_LINES = 250
# One table after the other, one question after the other: they are looked things up in, not read through.
_LONGER = {"worker/storage/models.py": 420, "worker/bootstrap.py": 330, "worker/options.py": 280}
_MOST_LINES_OF_A_FUNCTION = 40


@dataclass(frozen=True)
class Import:
    """One imported module; `typing` where it is only there for type checking."""

    module: str
    line: int
    typing: bool


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


@cache
def _imports(path: Path) -> tuple[Import, ...]:
    return tuple(_find_imports(path))


def _find_imports(path: Path) -> Iterator[Import]:
    for_types = {
        id(node)
        for guard in ast.walk(_tree(path))
        if isinstance(guard, ast.If) and ast.unparse(guard.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for node in ast.walk(guard)
    }
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (Import(name.name, node.lineno, id(node) in for_types) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            if module == "worker":
                yield from (Import(f"worker.{name.name}", node.lineno, id(node) in for_types) for name in node.names)
            else:
                yield Import(module, node.lineno, id(node) in for_types)


def _room(path: Path) -> str:
    return path.relative_to(_PACKAGE).parts[0].removesuffix(".py")


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _inside(path: Path) -> Iterator[tuple[str, Import]]:
    """(the room imported from, the import) for each import of our own."""
    for found in _imports(path):
        if found.module.startswith("worker."):
            yield found.module.split(".")[1], found


def test_imports_point_one_way() -> None:
    wrong = [
        f"{_name(path)}:{found.line} imports {found.module}"
        for path in _FILES
        for room, found in _inside(path)
        if not found.typing and not _may_import(_room(path), room)
    ]
    assert wrong == []


def _may_import(own: str, other: str) -> bool:
    if own == other or other in _ANYWHERE or other == "__version__":
        return True
    if own in _SETTINGS | _WIRING or other in _SETTINGS | _WIRING:
        return True  # the tests below say who may
    if own not in _ROW or other not in _ROW:
        return False
    if _ROW[own] == _ROW[other]:
        return _ROW[own] == _TOP or (own, other) in _NEIGHBOURS
    return _ROW[own] > _ROW[other]


def test_every_room_has_its_row() -> None:
    rooms = {_room(path) for path in _FILES}
    assert rooms <= set(_ROW) | _ANYWHERE | _SETTINGS | _WIRING


def test_the_wiring_is_used_by_the_faces_alone() -> None:
    """Settings, publications, logs: what lower rooms need of them they are given as plain values."""
    allowed = set(_ROWS[_TOP]) | _SETTINGS | _WIRING
    wrong = [
        f"{_name(path)}:{found.line} imports {found.module}"
        for path in _FILES
        for room, found in _inside(path)
        if room in _SETTINGS | _WIRING and _room(path) not in allowed and not found.typing
    ]
    assert wrong == []


def test_settings_are_read_by_few() -> None:
    wrong = [
        f"{_name(path)}:{found.line}"
        for path in _FILES
        for room, found in _inside(path)
        if room in _SETTINGS and _room(path) not in _READ_SETTINGS and not found.typing
    ]
    assert wrong == []


def test_the_domain_needs_the_standard_library_alone() -> None:
    wrong = [
        f"{_name(path)}:{found.line} imports {found.module}"
        for path in _FILES
        if _room(path) == "domain"
        for found in _imports(path)
        if not found.module.startswith("worker.domain") and found.module.split(".")[0] not in sys.stdlib_module_names
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        # what rings and what is rung
        ("celery", ("app.py", "tasks.py", "steady.py")),
        ("kombu", ("app.py", "tasks.py", "steady.py")),
        ("premailer", ("rendering/",)),
        ("nh3", ("rendering/",)),
        ("fastapi", ("web/",)),
        ("click", ("cli/",)),
        ("rich", ("cli/",)),
        ("alembic", ("storage/",)),
        ("smtplib", ()),
    ],
)
def test_a_library_is_known_to_one_room(library: str, rooms: tuple[str, ...]) -> None:
    users = {
        path.relative_to(_PACKAGE).as_posix()
        for path in _FILES
        for found in _imports(path)
        if found.module.split(".")[0] == library and not found.typing
    }
    assert [user for user in users if not user.startswith(rooms)] == []


def test_only_storage_and_queries_know_sql() -> None:
    """`Connection` is passed on by others; to name its type is no knowledge of SQL."""
    wrong = [
        f"{_name(path)}:{node.lineno} imports {', '.join(sorted(names))}"
        for path in _FILES
        if _room(path) != "storage" and "queries" not in path.stem
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _SQL
        for names in [{name.name for name in node.names} - {"Connection", "Row", "Engine"}]
        if names
    ]
    assert wrong == []


def test_nothing_prints_but_the_command_line() -> None:
    wrong = [
        f"{_name(path)}:{node.lineno}"
        for path in _FILES
        if _room(path) != "cli"
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []


def test_files_stay_short() -> None:
    lengths = {_name(path): path.read_text("utf-8").count("\n") for path in _FILES if "versions" not in path.parts}
    assert {name: lines for name, lines in lengths.items() if lines > _LONGER.get(name, _MOST_LINES)} == {}


def test_functions_stay_short() -> None:
    wrong = {
        f"{_name(path)}:{node.lineno} {node.name}": length
        for path in _FILES
        if "versions" not in path.parts
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := _lines(path, node)) > _MOST_LINES_OF_A_FUNCTION
    }
    assert wrong == {}


def _lines(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines that hold code: words, in a docstring or a comment, are not what makes a function long."""
    first = node.body[0]
    words = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    begin = (first.end_lineno or first.lineno) if words else node.lineno - 1
    text = path.read_text("utf-8").splitlines()[begin : node.end_lineno]
    return sum(1 for line in text if line.strip() and not line.strip().startswith("#"))


def test_no_work_is_left_for_later() -> None:
    words = ("TODO", "FIXME", "XXX", "NotImplementedError")
    wrong = [
        f"{_name(path)}: {word}" for path in _FILES for word in words if word in path.read_text("utf-8")
    ]
    assert wrong == []


def test_modules_do_not_import_in_circles() -> None:
    """At run time, imports inside functions aside."""
    graph = {_module(path): set(_loaded(path)) for path in _FILES}
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module in done:
            return
        path.append(module)
        for other in graph.get(module, ()):
            visit(other)
        path.pop()
        done.add(module)

    for module in graph:
        visit(module)


def _module(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _loaded(path: Path) -> Iterator[str]:
    """Modules of ours that importing this file loads."""
    known = {_module(one) for one in _FILES}
    for node in _tree(path).body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{name.name}" for name in node.names} & known
            yield from names
            if node.module in known and len(names) < len(node.names):
                yield node.module
