"""`events`, `replay`, `retry`, `mark-sent`, `deliveries --status`: what ended badly, found and mended by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from tests.integration.campaigns.readers import set_status
from tests.integration.cli.command import run
from tests.integration.cli.test_commands import environ, here, migrated  # noqa: F401 - fixtures
from tests.ledger import Seeded, seed_campaign, statuses
from tests.running import signup_event
from worker.cli import root
from worker.domain.clock import SystemClock
from worker.storage.database import Database
from worker.storage.models import DeliveryRow, EventRow

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def ledger(environ: dict[str, str]) -> Iterator[Database]:  # noqa: F811
    database = Database(f"sqlite:///{Path(environ['PRESSRUN_VAR_DIR']) / 'pressrun.db'}")
    yield database
    database.close()


@pytest.fixture
def seeded(ledger: Database) -> Seeded:
    return seed_campaign(ledger, SystemClock().now(), 4)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run_it(*arguments: str, code: int = 0) -> str:
        assert root.run(arguments) == code
        found = capsys.readouterr()
        # on stderr there is a line for each ring that no broker heard, too
        return found.out or found.err

    return run_it


def test_what_is_unknown_is_listed_and_released(ledger: Database, seeded: Seeded, said: Callable[..., str]) -> None:
    first, second, third, fourth = seeded.deliveries
    set_status(ledger, [first, second, third], "unknown", "unknown_outcome")
    set_status(ledger, [fourth], "failed", "our_fault")
    listed = json.loads(said("deliveries", "--status", "unknown", "--json"))
    assert [one["id"] for one in listed] == [first, second, third]
    assert "unknown_outcome" in said("deliveries", "--status", "unknown")
    assert said("retry", "--delivery", str(first)) == f"delivery {first}: queued again\n"
    assert said("mark-sent", "--delivery", str(second)) == f"delivery {second}: considered sent\n"
    assert said("mark-sent", "1") == "campaign 1: 1 considered sent\n"
    assert said("retry", "1") == "campaign 1: 1 queued again\n"
    assert statuses(ledger) == {"queued": 2, "sent": 2}
    assert "is queued; what can be sent again" in said("retry", "--delivery", str(first), code=1)


def test_transactional_mail(ledger: Database, environ: dict[str, str], said: Callable[..., str]) -> None:  # noqa: F811
    run(environ, "emit", "-", text=json.dumps(signup_event("bo@example.com")))
    with ledger.read() as connection:
        ids = list(connection.execute(select(DeliveryRow.id)).scalars())
    set_status(ledger, ids, "failed", "our_fault")
    assert "bo@example.com" in said("deliveries", "--transactional")
    assert said("retry", "--transactional") == "transactional: 1 queued again\n"
    assert statuses(ledger) == {"queued": 1}


def test_events_are_listed_and_replayed(
    ledger: Database, environ: dict[str, str], said: Callable[..., str]  # noqa: F811
) -> None:
    run(environ, "emit", "-", text=json.dumps(signup_event("bo@example.com") | {"type": "member.new"}))
    assert "member.new" in said("events", "--status", "ignored")
    (event,) = json.loads(said("events", "--json"))
    number = str(event["number"])
    assert "is not known here; a newer Pressrun may know it" in said("replay", number, code=1)
    assert said("replay", "--all") == "nothing to do\n"
    with ledger.write() as connection:
        connection.execute(update(EventRow).values(type="subscriber.created"))
    assert said("replay", "--all").startswith(f"{number}  ")
    assert statuses(ledger) == {"queued": 1}
    assert "has had its effect" in said("replay", number, code=1)
    assert "there is no event 99" in said("replay", "99", code=1)


@pytest.mark.parametrize(
    "arguments",
    [("retry",), ("retry", "1", "--delivery", "2"), ("retry", "1", "--transactional"), ("mark-sent",), ("replay",),
     ("replay", "1", "--all"), ("deliveries",), ("deliveries", "--campaign", "1", "--transactional")],
)  # fmt: skip
def test_one_thing_at_a_time(said: Callable[..., str], arguments: tuple[str, ...]) -> None:
    assert "Usage" in said(*arguments, code=2)
