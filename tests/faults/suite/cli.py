"""The command line: runs by seed, each result a line in `var/faults/`, a table at the end."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.suite.faults import TABLE
from tests.faults.suite.run import Result, run
from tests.faults.suite.scenarios import SCENARIOS
from tests.faults.suite.schedule import Schedule, scheduled
from tests.servers import REPOSITORY

FOLDER = REPOSITORY / "var" / "faults"
DATABASES = ("sqlite", "postgresql")
READERS = 2000


def main() -> None:
    given = _parser().parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    databases = [given.database] if given.database else list(DATABASES)
    seeds = [given.seed] if given.seed is not None else list(range(given.first, given.first + given.runs))
    only = given.faults.split(",") if given.faults else []
    if given.scenario:
        sys.exit(0 if _scenario(given.scenario, databases, given.readers, given.seed or 1) else 1)
    given.readers = given.readers or READERS
    results = FOLDER / f"runs-{given.readers}.jsonl"
    again = given.seed is not None or only
    done = set() if again else {(one["database"], one["seed"]) for one in read(results)}
    for seed in seeds:
        for database in databases:
            if (database, seed) not in done:
                _one(scheduled(seed, database, given.readers, only), results, keep=given.keep, note=not only)
    wanted = [one for one in read(results) if one["seed"] in seeds and one["database"] in databases]
    print("\n".join(table(wanted)))
    sys.exit(0 if all(one["good"] for one in wanted) else 1)


def _scenario(name: str, databases: list[str], readers: int | None, seed: int) -> bool:
    good = True
    for database in databases:
        print(f"{name} on {database}, seed {seed}", flush=True)
        figures: list[str] = []
        result = SCENARIOS[name].play(database, readers or SCENARIOS[name].readers, seed, figures.append)
        print("\n".join((*said(result), *(f"  {line}" for line in figures))), flush=True)
        with (FOLDER / "scenarios.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"scenario": name, "figures": figures, **result.record()}) + "\n")
        if not result.good:
            (FOLDER / f"{name}-{database}.txt").write_text(result.report, "utf-8")
        good = good and result.good
    return good


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make faults", description="Real processes under seeded schedules of faults.")
    parser.add_argument("--runs", type=int, default=100, help="seeds, on each database (100)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--readers", type=int, help=f"recipients of each run ({READERS:,}; a scenario has its own)")
    parser.add_argument("--scenario", choices=SCENARIOS, help="a run with criteria of its own")
    parser.add_argument("--database", choices=DATABASES, help="one of them; both without it")
    parser.add_argument("--seed", type=int, help="this one, though it was run before")
    parser.add_argument("--faults", help=f"these, separated by commas, instead of drawn ones: {', '.join(TABLE)}")
    parser.add_argument("--keep", action="store_true", help="keep the files of good runs, too")
    return parser


def _one(schedule: Schedule, results: Path, *, keep: bool, note: bool) -> None:
    print(schedule, flush=True)
    name = f"{schedule.setting.database}-{schedule.seed}"
    folder = Path(tempfile.mkdtemp(prefix="pr-faults-")) / "run"
    try:
        try:
            result = run(schedule, folder)
        except Exception:
            # one seed that breaks the suite must not end a night's run
            print(traceback.format_exc(), flush=True)
            broke = {"seed": schedule.seed, "database": schedule.setting.database, "readers": schedule.setting.readers}
            _write(results, {**broke, "good": False, "findings": {"broke": 1}, "doubles": {}, "received": 0})
            return
        print("\n".join(said(result)), flush=True)
        if note:
            _write(results, result.record())
        if keep or not result.good:
            kept = FOLDER / name
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("next", "*.sock"), symlinks=True)
            (kept / "report.txt").write_text(result.report, "utf-8")
            print(f"  kept in {kept}")
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def _write(results: Path, record: dict[str, Any]) -> None:
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def said(result: Result) -> Iterator[str]:
    yield from (f"  {line}" for line in result.lines)
    doubles = ", ".join(f"{n} {cause}" for cause, n in sorted(result.verdict.doubles.items())) or "none"
    yield f"  {dict(result.statuses)}, received {result.received:,}, doubles: {doubles}; {result.seconds:.0f} s"
    for finding in result.verdict.findings[:20]:
        yield f"  {finding.kind.upper()}: {finding.text} {f'(delivery {finding.delivery})' if finding.delivery else ''}"
    yield "  good" if result.good else f"  {len(result.verdict.findings)} findings"


def read(results: Path) -> list[dict[str, Any]]:
    """The newest result of each database and seed."""
    lines = results.read_text("utf-8").splitlines() if results.exists() else []
    newest = {(one["database"], one["seed"]): one for one in map(json.loads, lines)}
    return list(newest.values())


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    yield ""
    yield f"{'database':12}{'runs':>6}{'good':>6}{'mails':>10}{'lost':>6}{'stuck':>7}{'wrong':>7}{'late':>6}  doubles"
    for database in DATABASES:
        mine = [one for one in results if one["database"] == database]
        if not mine:
            continue
        found: Counter[str] = sum((Counter(one["findings"]) for one in mine), Counter())
        doubles: Counter[str] = sum((Counter(one["doubles"]) for one in mine), Counter())
        yield (
            f"{database:12}{len(mine):6}{sum(one['good'] for one in mine):6}{sum(one['received'] for one in mine):10,}"
            f"{found['lost']:6}{found['stuck']:7}{found['wrong']:7}{found['late']:6}  "
            + (", ".join(f"{n} {cause}" for cause, n in doubles.most_common()) or "none")
        )
    for one in results:
        if not one["good"]:
            yield f"seed {one['seed']} on {one['database']}: {dict(one['findings'])}"
