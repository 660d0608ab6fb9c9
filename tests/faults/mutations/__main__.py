"""`make mutations`: for each line of the table a copy of the code with that line changed, and its tests run on it."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.mutations.table import TABLE, Mutation
from tests.servers import REPOSITORY

_COPIED = ("worker", "templates", "config", "tests", "pyproject.toml", "docs")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make mutations", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutations with one of these words in their name")
    words = parser.parse_args().words
    chosen = [one for one in TABLE if not words or any(word in one.name for word in words)]
    overlooked = 0
    for mutation in chosen:
        for test, noticed in check(mutation).items():
            overlooked += not noticed
            verdict = "fails" if noticed else "PASSES"
            print(f"promise {mutation.promise}: {mutation.name}: {test} {verdict}", flush=True)
    if overlooked:
        sys.exit(f"{overlooked} tests did not notice")


def check(mutation: Mutation) -> dict[str, bool]:
    """{test: whether it failed}. The tests pass on the code as it is: that is what `make test` says."""
    with tempfile.TemporaryDirectory(prefix="pr-mutation-") as folder:
        mutate(mutation, Path(folder))
        return {test: _fails(Path(folder), test) for test in mutation.tests}


def mutate(mutation: Mutation, folder: Path) -> None:
    for name in _COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    path = folder / mutation.file
    text = path.read_text("utf-8")
    assert text.count(mutation.old) == 1, f"{mutation.file}: {mutation.old!r} is not in it once"
    path.write_text(text.replace(mutation.old, mutation.new), "utf-8")


def _fails(folder: Path, test: str) -> bool:
    """1 is pytest's status for tests that failed; any other would be a fault of the table."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", test]
    done = subprocess.run(command, cwd=folder, env=_environ(folder), capture_output=True, text=True, timeout=600)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode == 1


def _environ(folder: Path) -> dict[str, str]:
    """Without what is installed: the copy is what is imported."""
    return {**os.environ, "PYTHONPATH": str(folder)}


if __name__ == "__main__":
    main()
