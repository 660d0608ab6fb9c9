"""The documents: links lead somewhere, promises have their tests, commands exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import REPOSITORY
from worker.cli.root import COMMANDS
from worker.options import Settings

_DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# Made of a publication's slug, and those of the compose file.
_OTHER_VARIABLES = re.compile(r"PRESSRUN_(CONFIG|[A-Z_<>]+_(TOKEN|SECRET|GHOST_SECRET))$")


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _prose(path: Path) -> str:
    """Without code blocks, where brackets mean something else."""
    return re.sub(r"(?ms)^```.*?^```", "", path.read_text("utf-8"))


@pytest.mark.parametrize("path", _DOCUMENTS, ids=_name)
def test_every_link_leads_somewhere(path: Path) -> None:
    broken = []
    for target in _LINK.findall(_prose(path)):
        if re.match(r"https?:|mailto:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file) if file else path
        if not found.exists() or (anchor and anchor not in _anchors(found)):
            broken.append(target)
    assert broken == []


def _anchors(path: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", path.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_promise_names_tests_that_exist() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \|.*\| (.*) \|$", (REPOSITORY / "docs" / "promises.md").read_text("utf-8"))
    assert [number for number, _ in rows] == [str(number) for number in range(1, 11)]
    for number, cell in rows:
        named = re.findall(r"`(tests/[^`]+)`", cell)
        assert named or "benchmarks" in cell, f"promise {number} names no test"
        assert all((REPOSITORY / one).exists() for one in named), f"promise {number}: {named}"
        assert all(_has_tests(REPOSITORY / one) for one in named), f"promise {number}: {named}"


def _has_tests(path: Path) -> bool:
    files = path.rglob("test_*.py") if path.is_dir() else [path]
    return any("def test_" in file.read_text("utf-8") for file in files)


def _everything() -> Iterator[tuple[str, str]]:
    for path in _DOCUMENTS:
        yield _name(path), path.read_text("utf-8")
    compose = REPOSITORY / "docker-compose.yml"
    yield _name(compose), compose.read_text("utf-8")


def test_every_setting_named_is_a_setting() -> None:
    known = {f"PRESSRUN_{name.upper()}" for name in Settings.model_fields}
    unknown = {
        (name, variable)
        for name, text in _everything()
        for variable in re.findall(r"PRESSRUN_[A-Z][A-Z_]*[A-Z]", text)
        if variable not in known and not _OTHER_VARIABLES.match(variable)
    }
    assert unknown == set()


def test_every_command_named_is_a_command() -> None:
    unknown = {
        (name, word)
        for name, text in _everything()
        for word in re.findall(r"`pressrun ([a-z][a-z-]*)", text)
        if word not in COMMANDS
    }
    assert unknown == set()


def test_nothing_stays_to_be_written() -> None:
    words = re.compile(r"\b(TODO|TBD|FIXME|lorem ipsum)\b", re.IGNORECASE)
    assert [_name(path) for path in _DOCUMENTS if words.search(path.read_text("utf-8"))] == []
