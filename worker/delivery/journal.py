"""The journal of one process: what happened to each conversation, written before the next one starts.

One line is one `O_APPEND` write (1 µs, where a commit costs 31 µs), so it survives a SIGKILL of the
process; a loss of the host may lose its last lines, as may any file that is not synced for each message.
The owner holds a lock on its file for as long as it lives: whoever can take the lock knows it is dead.

Lines are JSON arrays: `["B", delivery, lease]` before the first byte of a body,
`["R", delivery, lease, at, stage, code, enhanced, text, detail, duration]` once the outcome is known.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path

from worker.delivery.parcels import Claimed
from worker.delivery.transports.base import Exchange
from worker.domain.replies import Reply, Stage

# Below this a journal is not worth a truncation.
_TRUNCATE_BYTES = 65_536
# Ends what is half a line, and makes sure that it is none.
_TORN = b"-\n"
# About 40,000 mails: read in half a second by whoever takes over.
_LARGE_BYTES = 6_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """What a journal says of one delivery under one lease. `exchange` None: its body was begun, no more."""

    at: datetime | None
    exchange: Exchange | None


Entries = dict[tuple[int, int], Entry]
"""By (delivery id, lease id)."""


class Journal:
    """Opened in the process that writes it, never before a fork."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{os.getpid()}-{secrets.token_hex(4)}.journal"
        draft = self.path.with_suffix(".draft")
        self._fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        # named once it is locked: whoever can lock a journal, however young, knows that its owner is dead
        draft.replace(self.path)
        self._torn = False
        self._waiting = b""
        self.owner = f"{host_id(folder)}:{self.path.name}"

    def body_begins(self, claimed: Claimed) -> None:
        """From here on a cut leaves the outcome unknown. Outcomes that wait are written before it."""
        self._write(b'%s["B",%d,%d]\n' % (self._waiting, claimed.id, claimed.lease_id))
        self._waiting = b""

    def outcome(self, claimed: Claimed, at: datetime, exchange: Exchange, *, later: bool = False) -> None:
        """`later`: with the next line or `flush`, whichever comes first; one write for two lines."""
        self._waiting += _outcome_line(claimed, at, exchange)
        if not later:
            self.flush()

    def flush(self) -> None:
        """Write the outcomes that wait; on a failure they wait for the next time."""
        if self._waiting:
            self._write(self._waiting)
            self._waiting = b""

    @property
    def large(self) -> bool:
        """Worth a pause of the sending, after which it can start afresh."""
        return os.fstat(self._fd).st_size > _LARGE_BYTES

    def truncate(self) -> None:
        """Everything in it is recorded: only to be called while no conversation is open."""
        self._waiting = b""
        if os.fstat(self._fd).st_size > _TRUNCATE_BYTES:
            os.ftruncate(self._fd, 0)

    def compact(self, leases: Collection[int]) -> None:
        """Keep what is said under these leases; all others are recorded. To be called by the writing thread.

        The file is replaced by one that is whole and locked: a kill at any moment leaves the one or the other.
        """
        self.flush()
        draft = self.path.with_suffix(".draft")
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            with self.path.open("rb") as lines:
                kept = _under(leases, lines)
            if os.write(fd, kept) < len(kept):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(draft))
            # or a host that is lost just then leaves an empty file in its place
            os.fsync(fd)
            draft.replace(self.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            os.close(fd)
            raise
        self._fd, before = fd, self._fd
        self._torn = False
        os.close(before)

    def close(self) -> None:
        """Everything in it is recorded: the file goes with its owner."""
        self.path.unlink(missing_ok=True)
        os.close(self._fd)

    def _write(self, line: bytes) -> None:
        """A disk that is nearly full takes half a line: the next must not be read as the rest of it.

        Nor may half a line be read that lacks nothing but its end: its body was not begun.
        """
        line = _TORN + line if self._torn else line
        self._torn = True
        if os.write(self._fd, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._torn = False


def _outcome_line(claimed: Claimed, at: datetime, exchange: Exchange) -> bytes:
    """JSON put together by hand: the encoder takes as long for one line as the write does for ten."""
    reply = exchange.reply
    said = 'null,"",""' if reply is None else f'{reply.code},"{reply.enhanced}",{_quoted(reply.text)}'
    head = f'["R",{claimed.id},{claimed.lease_id},"{at.isoformat()}","{exchange.stage}"'
    return f"{head},{said},{_quoted(exchange.detail)},{exchange.duration!r}]\n".encode()


def _under(leases: Collection[int], lines: Iterable[bytes]) -> bytes:
    """Those of whole lines; half a line was nobody's. One after the other: all at once are 15 MB for good."""
    wanted = {b"%d" % one for one in leases}
    kept = []
    for line in lines:
        parts = line.split(b",", 3)
        if line.endswith(b"]\n") and len(parts) > 2 and parts[2].rstrip(b"]\n") in wanted:
            kept.append(line)
    return b"".join(kept)


def host_id(folder: Path) -> str:
    """Names the journal folder itself: who shares the folder can read each other's journals."""
    path = folder / "host-id"
    if not path.exists():
        # linked when it is written: whoever reads half a name would own journals that nobody finds
        draft = folder / f"host-id.{secrets.token_hex(8)}"
        draft.write_text(secrets.token_hex(8), "ascii")
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text("ascii")


class Deceased:
    """A lock on a dead owner's journal, so that only one takes over. `None` from `seize`: it lives."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path

    @classmethod
    def seize(cls, path: Path) -> Deceased | None:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # its owner may have put another in its place meanwhile, and lives
            lives = not os.path.samestat(os.fstat(fd), os.stat(path))
        except OSError:
            lives = True
        if lives:
            os.close(fd)
            return None
        return cls(fd, path)

    def release(self, *, bury: bool) -> None:
        """`bury`: all of it is recorded, the file may go."""
        if bury:
            self._path.unlink(missing_ok=True)
        os.close(self._fd)


def read_journal(path: Path) -> Entries:
    """The last word on each delivery. A line cut short (a kill, a full disk) is not there yet, and is passed over."""
    try:
        with path.open("rb") as lines:
            return _entries(lines)
    except FileNotFoundError:
        return {}


def _entries(lines: Iterable[bytes]) -> Entries:
    entries: Entries = {}
    for line in lines:
        try:
            kind, delivery_id, lease_id, *rest = json.loads(line)
        except ValueError:
            continue
        if kind == "B" and not line.endswith(b"\n"):
            continue
        entries[(delivery_id, lease_id)] = _outcome(rest) if kind == "R" else Entry(None, None)
    return entries


def _outcome(rest: list[object]) -> Entry:
    at, stage, code, enhanced, text, detail, duration = rest
    reply = Reply(int(str(code)), str(enhanced), str(text)) if code is not None else None
    exchange = Exchange(Stage(str(stage)), reply, str(detail), float(str(duration)))
    return Entry(datetime.fromisoformat(str(at)), exchange)
