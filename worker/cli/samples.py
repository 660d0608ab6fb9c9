"""Sample mails: what `preview` shows and `check` compiles."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from worker import resources
from worker.domain.delivery import Kind
from worker.domain.message import Recipient
from worker.domain.publication import Publication

if TYPE_CHECKING:
    from worker.bootstrap import System
    from worker.rendering import CompiledMail

KINDS = (Kind.NEW_POST, Kind.CONFIRMATION, Kind.ALREADY_SUBSCRIBED, Kind.WELCOME)


def sample_event(name: str) -> dict[str, Any]:
    """`post-published` or `subscriber-created`, as a publisher would send it."""
    path = resources.config_dir() / "samples" / f"{name}.json"
    event: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return event


def sample_recipient(system: System, publication: Publication) -> Recipient:
    """A reader whose links lead nowhere."""
    base = system.settings.base_url
    return Recipient(
        email="ana.lopez@example.com", name="Ana López", locale=publication.brand.language,
        unsubscribe_url=f"{base}/unsubscribe/sample", manage_url=f"{base}/manage/sample",
        confirm_url=f"{base}/confirm/sample",
    )  # fmt: skip


def compile_sample(system: System, publication: Publication, kind: Kind) -> CompiledMail:
    """Raises `TemplateFault` with file and line, or `ContentTooLarge`."""
    return system.compiler.compile(publication, kind, _shared(system, publication, kind))


def compile_samples(system: System, publication: Publication) -> Iterator[CompiledMail]:
    """One of each kind."""
    for kind in KINDS:
        yield compile_sample(system, publication, kind)


def _shared(system: System, publication: Publication, kind: Kind) -> Mapping[str, object]:
    from worker.rendering import confirmation_context, post_context

    first = publication.lists[0]
    if kind is Kind.NEW_POST:
        post = sample_event("post-published")["data"]["post"]
        return post_context(publication, post, list_slug=first.slug)
    return confirmation_context(publication, [first], system.settings.confirm_hours)
