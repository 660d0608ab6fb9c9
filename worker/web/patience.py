"""HTTP connections that end: who says a request drop by drop, or takes the answer so, is hung up on.

uvicorn waits for ever for the rest of a request; a few hundred connections that send a byte a minute ("slowloris")
would take every one that the process may have open.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class PatientProtocol(H11Protocol):
    """uvicorn's protocol with a deadline: `seconds` for a whole request, however many pieces it comes in, and as much
    each time that the answer waits for its reader."""

    seconds = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._late: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late = self.loop.call_later(self.seconds, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_late()
        self._stop_stuck()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self._stuck or self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_stuck()

    def _watch(self) -> None:
        """From the first byte of a request to its last; a connection between two requests is uvicorn's to close."""
        if not self._half_read:
            self._stop_late()
        elif self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(self.seconds, self._hang_up)

    @property
    def _half_read(self) -> bool:
        theirs = self.conn.their_state
        return theirs is h11.SEND_BODY or (theirs is h11.IDLE and bool(self.conn.trailing_data[0]))

    def _hang_up(self) -> None:
        self._late = None
        if self.transport.is_closing():
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_LATE)
        self.transport.close()

    def _stop_late(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _stop_stuck(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None


def patient_for(seconds: float) -> type[PatientProtocol]:
    """The protocol with this deadline, for uvicorn's `http`."""
    return type("PatientProtocol", (PatientProtocol,), {"seconds": seconds})
