"""A publication, a post and a reader, and short ways to mails of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.servers import REPOSITORY
from worker.domain.delivery import Kind
from worker.domain.message import MessageIdentity, Recipient
from worker.domain.publication import Brand, MailingList, Publication, Sender
from worker.rendering import CompiledMail, MailCompiler, confirmation_context, post_context

TEMPLATES = REPOSITORY / "templates"
PUBLICATION = Publication(
    slug="daily",
    name="The Daily",
    sender=Sender("The Daily", "news@blog.example", "editors@blog.example"),
    brand=Brand(
        "https://blog.example",
        "https://blog.example/content/images/logo.png",
        "#1a56db",
        "The Daily, 1 Example Street, 28001 Madrid, Spain",
    ),
    lists=(MailingList("posts", "New posts"), MailingList("digest", "Weekly digest")),
    timezone=ZoneInfo("Europe/Madrid"),
)
_TOKEN = "v1.k1.c3Vic2NyaXB0aW9uLTQyLWdlbmVyYXRpb24tMQ.0Zk3mTqXw2r8yHn5vBd1Lw"
READER = Recipient(
    "ada@example.org",
    "Ada Lovelace",
    "en",
    f"https://mail.blog.example/unsubscribe/{_TOKEN}",
    f"https://mail.blog.example/manage/{_TOKEN}",
    f"https://mail.blog.example/confirm/{_TOKEN}",
)
IDENTITY = MessageIdentity("<42.abcdefgh@blog.example>", datetime(2025, 2, 9, 14, 5, tzinfo=UTC))


def sample_post() -> dict[str, object]:
    event = json.loads((REPOSITORY / "tests/samples/post-published.json").read_text("utf-8"))
    post: dict[str, object] = event["data"]["post"]
    return post


def shared_for(kind: Kind, publication: Publication = PUBLICATION) -> dict[str, object]:
    if kind in (Kind.NEW_POST, Kind.TEST):
        return post_context(publication, sample_post(), list_slug="posts")
    return confirmation_context(publication, publication.lists[:1], 72)


@cache
def compiled(kind: Kind) -> CompiledMail:
    return MailCompiler(TEMPLATES).compile(PUBLICATION, kind, shared_for(kind))


def parsed(data: bytes) -> EmailMessage:
    message = message_from_bytes(data, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def folder_with(tmp_path: Path, files: dict[str, str]) -> Publication:
    """The publication with an override folder that holds these files."""
    for name, text in files.items():
        path = tmp_path / "override" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return replace(PUBLICATION, templates=tmp_path / "override")
