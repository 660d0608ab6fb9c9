"""`make mutations`: for each line of the table a copy of the code with that line changed, and its tests run on it."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.faults.mutations.table import TABLE, Mutation
from tests.servers import REPOSITORY

_COPIED = ("worker", "templates", "config", "tests", "pyproject.toml", "docs")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make mutations", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutations with one of these words in their name")
    words = parser.parse_args().words
    chosen = [one for one in TABLE if not words or any(word in one.name for word in words)]
    _passes_unchanged({test for mutation in chosen for test in mutation.tests})
    overlooked = 0
    for mutation in chosen:
        for test, noticed in check(mutation).items():
            overlooked += not noticed
            verdict = "fails" if noticed else "PASSES"
            print(f"promise {mutation.promise}: {mutation.name}: {test} {verdict}", flush=True)
    if overlooked:
        sys.exit(f"{overlooked} tests did not notice")


def _passes_unchanged(tests: set[str]) -> None:
    """In a copy, as they are run below: what fails without a mutation would notice nothing."""
    with _copy() as folder:
        done = _pytest(folder, sorted(tests))
    if done.returncode:
        sys.exit(f"they fail on the code as it is:\n{done.stdout}")


def check(mutation: Mutation) -> dict[str, bool]:
    """{test: whether it failed}"""
    with _copy() as folder:
        path = folder / mutation.file
        text = path.read_text("utf-8")
        assert text.count(mutation.old) == 1, f"{mutation.file}: {mutation.old!r} is not in it once"
        path.write_text(text.replace(mutation.old, mutation.new), "utf-8")
        return {test: _fails(folder, test) for test in mutation.tests}


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pr-mutation-") as name:
        folder = Path(name)
        for part in _COPIED:
            source = REPOSITORY / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / part)
        yield folder


def _fails(folder: Path, test: str) -> bool:
    """1 is pytest's status for tests that failed; any other would be a fault of the table."""
    done = _pytest(folder, [test])
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode == 1


def _pytest(folder: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """What is imported is the copy, not what is installed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *tests]
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)


if __name__ == "__main__":
    main()
