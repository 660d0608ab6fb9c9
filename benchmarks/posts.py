"""The post of a benchmark: the sample's words, as many as make the mail the size that is wanted."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from tests.running import SAMPLES
from worker.domain.delivery import Kind
from worker.domain.message import MessageIdentity, Recipient
from worker.publications import load_publications
from worker.rendering import MailCompiler, post_context
from worker.resources import config_dir, templates_dir

MAIL_BYTES = 16_384
# As long as the real ones are: links carry a token.
_LINK = "http://127.0.0.1:8025/unsubscribe/" + "x" * 54
_READER = Recipient(
    email="reader50000@north.example", name="Reader 50000", locale="en", unsubscribe_url=_LINK, manage_url=_LINK,
    confirm_url="",
)  # fmt: skip


def event(number: int = 1, size: int = MAIL_BYTES) -> dict[str, Any]:
    """`post.published` whose mail comes to about `size` bytes; each number is another post."""
    found: dict[str, Any] = json.loads((SAMPLES / "post-published.json").read_text("utf-8"))
    post = found["data"]["post"] | {"id": f"bench-{number}"}
    post["html"] = _html(post, size)
    found["data"]["post"] = post
    return found | {"id": f"bench-{number}-published"}


def mail(post: dict[str, Any]) -> bytes:
    """The whole mail of one reader."""
    publication = load_publications(config_dir(), {})["daily"]
    compiled = MailCompiler(templates_dir()).compile(
        publication, Kind.NEW_POST, post_context(publication, post, list_slug="posts")
    )
    identity = MessageIdentity(f"<{'x' * 32}@{publication.sender.domain}>", datetime(2025, 2, 9, tzinfo=UTC))
    return compiled.personalise(_READER, identity)


def _html(post: dict[str, Any], size: int) -> str:
    """As many words as go into `size`, found by halving."""
    words = re.sub(r"<[^>]+>", " ", post["html"]).split()
    least, most = 1, len(words)
    while most - least > 1:
        middle = (least + most) // 2
        if len(mail(post | {"html": _paragraphs(words[:middle])})) > size:
            most = middle
        else:
            least = middle
    return _paragraphs(words[:least])


def _paragraphs(words: list[str]) -> str:
    return "".join(f"<p>{' '.join(words[n : n + 60])}</p>" for n in range(0, len(words), 60))
