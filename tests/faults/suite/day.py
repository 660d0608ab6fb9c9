"""What people do while the faults go on: the same event again, sign-ups, leaving, a pause, a second post."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from tests.faults.suite.bed import Bed
from tests.faults.suite.publisher import FIRST, SECOND, Outside
from tests.faults.suite.readers import SECOND_LIST, address_of
from tests.faults.suite.schedule import Step
from tests.running import post_event, signup_event, wait_until

_CONFIRM_SECONDS = 120


class Day:
    """One run's people. Sign-ups are confirmed by threads of their own, as soon as their mail is there."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._outside = Outside(bed)
        self._waiting: list[threading.Thread] = []
        self.troubles: list[str] = []
        self._acts: dict[str, Callable[[random.Random], str]] = {
            "again": self._again, "sign_up": self._sign_up, "leave": self._leave, "pause": self._pause,
            "second": self._second,
        }  # fmt: skip

    def begin(self) -> None:
        self._outside.post(_post(FIRST))

    def act(self, step: Step) -> str:
        return self._acts[step.name](random.Random(step.draw))

    def end(self) -> None:
        """Everybody has done what they wanted."""
        for one in self._waiting:
            one.join(_CONFIRM_SECONDS)

    def close(self) -> None:
        self._outside.close()

    def _again(self, rng: random.Random) -> str:
        """The same event, or the same post under another event's id."""
        other = rng.random() < 0.5
        event = _post(FIRST, f"again-{rng.getrandbits(32):x}" if other else None)
        return f"the post again{' under another id' if other else ''}: {self._outside.post(event)}"

    def _sign_up(self, rng: random.Random) -> str:
        address = f"new{rng.getrandbits(32):x}@example.com"
        status = self._outside.post(signup_event(address))
        self._bed.history.signed_up.add(address)
        waiting = threading.Thread(target=self._confirm, args=(address,), daemon=True)
        self._waiting.append(waiting)
        waiting.start()
        return f"{address} signs up: {status}"

    def _confirm(self, address: str) -> None:
        """When the mail is there."""
        outside = Outside(self._bed)
        try:
            wait_until(lambda: bool(self._token(address)), _CONFIRM_SECONDS, lambda: f"no confirmation for {address}")
            outside.confirm(address, self._token(address))
        except Exception as error:
            self.troubles.append(f"confirming {address}: {error!r}")
        finally:
            outside.close()

    def _token(self, address: str) -> str:
        tokens: list[str] = [
            one["confirm"]
            for one in list(self._bed.inbox.read())
            if one["event"] == "accepted" and one["rcpt"] == address
        ]
        return tokens[0] if tokens else ""

    def _leave(self, rng: random.Random) -> str:
        """Somebody near the end of the line, who may not have been written to yet."""
        readers = self._bed.setting.readers
        address = address_of(readers - 1 - rng.randrange(readers // 2))
        self._outside.leave(address)
        return f"{address} leaves"

    def _pause(self, rng: random.Random) -> str:
        halted = self._outside.halt(FIRST, "pause")
        if halted is None:
            return "too late for a pause"
        seconds = rng.uniform(2.5, 5.0)
        self._bed.pause(seconds)
        # before it is asked for: from then on it may go on
        halted.until = self._bed.history.now()
        self._outside.act(FIRST, "resume")
        return f"paused for {seconds:.1f} s"

    def _second(self, rng: random.Random) -> str:
        """A second post, cancelled while it goes out."""
        self._outside.post(_post(SECOND, list_slug=SECOND_LIST))
        self._bed.pause(rng.uniform(0.5, 3.0))
        halted = self._outside.halt(SECOND, "cancel")
        return "a second post, " + ("cancelled" if halted else "too late to cancel")


def _post(post: str, event_id: str | None = None, list_slug: str = "posts") -> dict[str, object]:
    event = post_event(post, event_id)
    event["data"]["list"] = list_slug
    return event
