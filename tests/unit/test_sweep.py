"""The sweep: one look that fails leaves the others their turn."""

from __future__ import annotations

from worker.delivery.sweep import Sweep
from worker.domain.errors import TemporaryError


def test_each_look_has_its_turn() -> None:
    found: list[tuple[str, int]] = []

    def away() -> int:
        raise TemporaryError("the database is away")

    def broken() -> int:
        raise ZeroDivisionError

    sweep = Sweep(
        {"away": away, "broken": broken, "nothing": lambda: 0, "something": lambda: 3},
        lambda kind, n: found.append((kind, n)),
    )
    assert sweep.run() == {"nothing": 0, "something": 3}
    assert found == [("something", 3)]
