"""A delivery's whole life, from all who know of it: ledger, journals, the receiving server, logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.faults.suite.bed import Bed
from tests.faults.suite.books import Books
from tests.faults.suite.inbox import facts

_LOG_LINES = 20


def life(bed: Bed, books: Books, delivery: int, inbox: Sequence[Mapping[str, Any]]) -> list[str]:
    one = next(each for each in books.deliveries if each.id == delivery)
    try:
        told = json.dumps(json.loads(bed.house.run("delivery", str(delivery), "--json")), indent=1)
    except Exception as error:
        told = f"pressrun delivery {delivery}: {error!r}"
    mine = [each for each in inbox if f"b+{delivery}-" in str(each.get("mail_from") or "")]
    calls = {each.get("connection") for each in mine}
    mine += [each for each in inbox if each["event"] == "closed" and each["connection"] in calls]
    lines = [told, f"message {one.message_id}", *(facts(each) for each in mine)]
    return [*lines, *_journals(bed, delivery), *_logs(bed, delivery)]


def _journals(bed: Bed, delivery: int) -> Iterator[str]:
    wanted = re.compile(rf'^\["[BR]",{delivery},')
    for path in sorted(bed.house.settings.journal_dir.glob("*.journal")):
        for line in path.read_text("utf-8", "replace").splitlines():
            if wanted.match(line):
                yield f"{path.name}: {line}"


def _logs(bed: Bed, delivery: int) -> Iterator[str]:
    wanted = re.compile(rf"delivery\D{{1,12}}{delivery}\b")
    for path in sorted(bed.house.folder.glob("*.log")):
        found = [line for line in path.read_text("utf-8", "replace").splitlines() if wanted.search(line)]
        yield from (f"{path.name}: {line}" for line in found[-_LOG_LINES:])
