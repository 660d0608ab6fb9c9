"""One mail's templates with what its readers share, and how they are rendered: with holes, and for one reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

import jinja2

from worker.domain.delivery import Kind
from worker.domain.errors import TemplateFault
from worker.domain.message import Content, Recipient
from worker.domain.publication import MailingList, Publication
from worker.rendering.cleaning import clean_lines, clean_text
from worker.rendering.environment import render
from worker.rendering.errors import may_pass
from worker.rendering.holes import Place, Trace, TracedRecipient
from worker.rendering.inlining import inline_css
from worker.rendering.layout import Text
from worker.rendering.places import escape_comment, sentinels
from worker.rendering.theme import theme_of


@dataclass(frozen=True, slots=True)
class Source:
    """One mail's three templates with what its readers share."""

    environment: jinja2.Environment
    publication: Publication
    kind: Kind
    shared: Mapping[str, object]

    @property
    def folder(self) -> str:
        return (Kind.NEW_POST if self.kind is Kind.TEST else self.kind).value

    @property
    def mailing_list(self) -> MailingList | None:
        found = self.shared.get("list")
        return found if isinstance(found, MailingList) else None

    def pages(self, recipient: object) -> Content:
        """Rendered, not yet inlined. Raises `TemplateFault`."""
        context = {
            **self.shared,
            "publication": self.publication,
            "theme": theme_of(self.publication.brand.color),
            "kind": self.kind.value,
            "recipient": recipient,
        }
        subject, html, text = (
            render(self.environment, f"{self.folder}/{name}", dict(context))
            for name in ("subject.txt", "body.html", "body.txt")
        )
        prefix = "[Test] " if self.kind is Kind.TEST else ""
        return Content(clean_text(prefix + subject), clean_lines(html), clean_lines(text))

    def fault(self, message: str) -> TemplateFault:
        return TemplateFault(self.file("body.html"), None, message)

    def file(self, name: str) -> str:
        template = self.environment.get_template(f"{self.folder}/{name}")
        return template.filename or str(template.name)

    def inlined(self, html: str) -> str:
        try:
            return inline_css(html)
        except Exception as error:
            if may_pass(error):
                raise
            raise self.fault(f"the page cannot be inlined: {type(error).__name__}: {error}") from error


def _mark(number: int) -> str:
    """Letters and digits in which the first occurs once, so that two sentinels never overlap."""
    return f"Zj{number:04d}pressrunq"


def traced(source: Source, recipient: Recipient) -> tuple[Trace, Content, Content]:
    """The rendering with holes and the one for this recipient alone, with a mark that is in neither's content."""
    for number in count():
        trace = Trace(recipient, _mark(number))
        pages, alone = source.pages(TracedRecipient(trace)), source.pages(recipient)
        if trace.mark not in alone.subject + alone.html + alone.text:
            return trace, pages, alone
    raise AssertionError("count() does not end")


def plain_text(page: str, trace: Trace) -> Text:
    parts = sentinels(trace.mark).split(page)
    return Text(tuple(parts[::2]), tuple((trace.outputs[int(number)][0], None) for number in parts[1::2]))


def raw_html(page: str, trace: Trace) -> Text:
    text = plain_text(page, trace)
    return Text(text.pieces, tuple((expression, escape_comment) for expression, _ in text.slots))


def compare(
    trace: Trace, recipient: Recipient, file: str, text: Text, alone: str, clean: Callable[[str], str] = str
) -> None:  # fmt: skip
    """Whatever reached a hole's text by a way of its own (a captured block, |safe) shows here."""
    if clean(text.fill(recipient)) == alone:
        return
    place = next((place for expression, place in trace.outputs if place.file == file), Place(file, None))
    raise place.fault(
        "a recipient's field is changed or measured after its output (a captured block, |safe, a filter block); "
        "put the filter on the field itself"
    )
