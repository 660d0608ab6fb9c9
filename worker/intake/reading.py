"""Events out of a file or standard input, for `pressrun emit`: one JSON event, or one in each line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from worker.domain.errors import InvalidInput
from worker.domain.events import Event
from worker.intake.cloudevents import event_of
from worker.intake.jsontext import BODY, parse_json

Read = tuple[str, Event | InvalidInput]


def read_events(stream: BinaryIO, name: str, max_bytes: int) -> Iterator[Read]:
    """(`where`, event or what is wrong with it) for each event in `stream`.

    `where` is `name` or `name:line`. A stream that begins with a whole object on one line is read line by
    line, so a file of any length takes the memory of one event; else all of it is one event. `max_bytes`
    bounds each event.
    """
    first = _first_line(stream, max_bytes).removeprefix(b"\xef\xbb\xbf")
    number = 1
    while first and not first.strip():
        first, number = _first_line(stream, max_bytes), number + 1
    if not first:
        yield name, InvalidInput.of(BODY, "is empty; one JSON event, or one in each line, is expected")
    elif _is_whole(first):
        yield from _lines(stream, name, max_bytes, first, number)
    else:
        yield name, _event(first + stream.read(max_bytes + 1), max_bytes)


def _lines(stream: BinaryIO, name: str, max_bytes: int, line: bytes, number: int) -> Iterator[Read]:
    while line:
        if line.strip():
            yield f"{name}:{number}", _event(line, max_bytes)
        line, number = _first_line(stream, max_bytes), number + 1


def _first_line(stream: BinaryIO, max_bytes: int) -> bytes:
    """The next line; of one that is too long, only so much that it is seen to be."""
    line = stream.readline(max_bytes + 2)
    if len(line) > max_bytes and not line.endswith(b"\n"):
        while (rest := stream.readline(max_bytes)) and not rest.endswith(b"\n"):
            pass
    return line


def _is_whole(line: bytes) -> bool:
    """Whether a line is JSON by itself. `{` alone is the beginning of a laid out object."""
    text = line.strip()
    return not (text.startswith((b"{", b"[")) and not text.endswith((b"}", b"]")))


def _event(raw: bytes, max_bytes: int) -> Event | InvalidInput:
    if len(raw.strip()) > max_bytes:
        return InvalidInput.of(BODY, f"is larger than {max_bytes} bytes, the limit here (PRESSRUN_MAX_EVENT_BYTES)")
    try:
        return event_of(parse_json(raw))
    except InvalidInput as error:
        return error
