"""Replies out of bytes (RFC 5321 §4.2), bounded, and forgiving where that is safe."""

from __future__ import annotations

import re
from functools import lru_cache

from worker.domain.replies import Reply

RawReply = list[bytes]
"""The lines of one reply, without their ends; each starts with its code."""

LINE_LIMIT = 8 * 1024
"""Bytes; RFC 5321 §4.5.3.1.5 asks for 512, real servers write more."""
REPLY_LIMIT = 64 * 1024
TEXT_LIMIT = 1000
"""Characters of a reply that are kept for the ledger."""

_LINE = re.compile(rb"[2-5][0-9]{2}(?:[ -]|\r?\Z)")
_USUAL = frozenset({b"250 ", b"354 "})
_SHORT = 512
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|\Z)")
# NUL cannot be stored in PostgreSQL, the others would break a log line
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class ReplyReader:
    """Cuts what arrives into replies. `fault` says why nothing after it can be trusted."""

    __slots__ = ("_lines", "_rest", "_size", "fault")

    def __init__(self) -> None:
        self.fault = ""
        self._rest = b""
        self._lines: RawReply = []
        self._size = 0

    @property
    def empty(self) -> bool:
        """Whether nothing stands half read."""
        return not self._rest and not self._lines

    def feed(self, data: bytes) -> list[RawReply]:
        """The replies completed by `data`, up to the first fault."""
        *lines, self._rest = (self._rest + data if self._rest else data).split(b"\n")
        replies: list[RawReply] = []
        for line in lines:
            # a short reply of one line, as all but a few are
            if not self._lines and len(line) < _SHORT and line[:4] in _USUAL:
                replies.append([line.rstrip(b"\r")])
                continue
            if not self._admit(line):
                return replies
            self._lines.append(line.rstrip(b"\r"))
            if line[3:4] != b"-":
                replies.append(self._lines)
                self._lines, self._size = [], 0
        if len(self._rest) > LINE_LIMIT:
            self.fault = f"a reply line over {LINE_LIMIT} bytes"
        return replies

    def _admit(self, line: bytes) -> bool:
        self._size += len(line)
        if len(line) > LINE_LIMIT or self._size > REPLY_LIMIT:
            self.fault = f"a reply line over {LINE_LIMIT} or a reply over {REPLY_LIMIT} bytes"
        elif not _LINE.match(line):
            self.fault = f"not an SMTP reply: {line[:40]!r}"
        return not self.fault


def read_reply(lines: RawReply) -> Reply:
    """The code of the last line; the first enhanced code (RFC 2034), taken off wherever it is repeated."""
    return _read_line(lines[0]) if len(lines) == 1 else _read_lines(lines)


# `250 2.1.0 Ok` comes a million times: kept, so that it is read once.
@lru_cache(maxsize=128)
def _read_line(line: bytes) -> Reply:
    return _read_lines([line])


def _read_lines(lines: RawReply) -> Reply:
    enhanced = ""
    texts = []
    for line in lines:
        text = line[4:].decode("utf-8", "replace")
        found = _ENHANCED.match(text)
        if found and enhanced in ("", found[1]):
            enhanced = found[1]
            text = text[found.end() :]
        texts.append(text)
    text = _CONTROL.sub(" ", " ".join(texts)).strip()
    return Reply(int(lines[-1][:3]), enhanced, text[:TEXT_LIMIT])
