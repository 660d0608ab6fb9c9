"""Where the inbox keeps its mails: one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser
from pathlib import Path
from typing import cast

from worker.domain.errors import ConfigurationError

_TABLES = """
CREATE TABLE IF NOT EXISTS mails (
    id INTEGER PRIMARY KEY,
    received_at REAL NOT NULL,
    mail_from TEXT NOT NULL,
    rcpt_to TEXT NOT NULL,
    subject TEXT NOT NULL,
    message_id TEXT NOT NULL,
    raw BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS mails_rcpt_to ON mails (rcpt_to, id);
CREATE INDEX IF NOT EXISTS mails_message_id ON mails (message_id);
"""
_COLUMNS = "id, received_at, mail_from, rcpt_to, subject, message_id"


@dataclass(frozen=True, slots=True)
class Incoming:
    """One mail as it came over the wire."""

    mail_from: str
    rcpt_to: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail as the list shows it."""

    id: int
    received_at: datetime
    mail_from: str
    rcpt_to: str
    subject: str
    message_id: str


class MailBox:
    """Opened for each process; `folder` is made when it is missing. Raises `ConfigurationError` where it cannot be."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._open(folder)
        except (OSError, sqlite3.DatabaseError) as error:
            raise ConfigurationError(
                f"PRESSRUN_VAR_DIR: the inbox's folder {folder} cannot be used ({error}); give a folder that can"
            ) from None

    def _open(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "inbox.db", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        # a mail answered with 250 survives the process; the machine's own end is no concern of a demo
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("PRAGMA busy_timeout=5000")
        self._connection.executescript(_TABLES)

    def put(self, mails: Sequence[Incoming], now: datetime) -> None:
        """Keep these, in one transaction."""
        rows = [_row(mail, now) for mail in mails]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT INTO mails (received_at, mail_from, rcpt_to, subject, message_id, raw) VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        self._connection.execute("COMMIT")

    def total(self, to: str = "") -> int:
        """How many there are, to any address that holds `to`."""
        where, values = _matching(to)
        count: int = self._connection.execute(f"SELECT count(*) FROM mails {where}", values).fetchone()[0]  # noqa: S608
        return count

    def newest(self, to: str = "", *, limit: int = 50, offset: int = 0) -> list[Mail]:
        """Newest first; `to` is an address or a part of one."""
        where, values = _matching(to)
        found = self._connection.execute(
            f"SELECT {_COLUMNS} FROM mails {where} ORDER BY id DESC LIMIT ? OFFSET ?",  # noqa: S608 - our own words
            (*values, limit, offset),
        )
        return [_mail(row) for row in found]

    def get(self, mail_id: int) -> tuple[Mail, bytes] | None:
        """One mail and its source."""
        row = self._connection.execute(f"SELECT {_COLUMNS}, raw FROM mails WHERE id = ?", (mail_id,)).fetchone()  # noqa: S608
        return None if row is None else (_mail(row[:-1]), row[-1])

    def times_seen(self) -> Mapping[str, int]:
        """How often each Message-ID came in."""
        return dict(self._connection.execute("SELECT message_id, count(*) FROM mails GROUP BY message_id"))

    def close(self) -> None:
        self._connection.close()


def parse(raw: bytes) -> EmailMessage:
    """The message of a mail's source; defects are kept, not raised."""
    return BytesParser(policy=policy.default).parsebytes(raw)


def _row(mail: Incoming, now: datetime) -> tuple[object, ...]:
    headers = BytesHeaderParser(policy=policy.compat32).parsebytes(mail.raw)
    message_id = str(headers.get("Message-ID", "")).strip()
    return now.timestamp(), mail.mail_from, mail.rcpt_to, _subject(headers.get("Subject", "")), message_id, mail.raw


def _subject(header: object) -> str:
    text = str(header).replace("\r", "").replace("\n", "")
    try:
        return str(make_header(decode_header(text)))
    except (UnicodeError, LookupError, ValueError):
        return text


def _mail(row: Sequence[object]) -> Mail:
    mail_id, received_at, mail_from, rcpt_to, subject, message_id = row
    at = datetime.fromtimestamp(cast(float, received_at), UTC)
    return Mail(cast(int, mail_id), at, str(mail_from), str(rcpt_to), str(subject), str(message_id))


def _matching(to: str) -> tuple[str, tuple[str, ...]]:
    return ("WHERE instr(lower(rcpt_to), lower(?))", (to,)) if to else ("", ())
