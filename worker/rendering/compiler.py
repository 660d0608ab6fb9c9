"""Compile once, personalise many.

`MailCompiler.compile` renders a template with everything its readers share and leaves the holes open. Readers who
answer the template's conditions alike share one *variant*: subject, text and inlined HTML, laid out as MIME. The
variants of a mail hang in a tree of guards, so that choosing one costs as many questions as the template asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from itertools import count
from pathlib import Path

import jinja2

from worker.domain.delivery import Kind
from worker.domain.errors import TemplateFault
from worker.domain.message import Content, MessageIdentity, Recipient
from worker.domain.publication import MailingList, Publication
from worker.rendering.cleaning import clean_lines, clean_recipient, clean_text
from worker.rendering.environment import is_fresh, make_environment, render
from worker.rendering.holes import Guard, Place, Trace, TracedRecipient
from worker.rendering.inlining import inline_css
from worker.rendering.layout import Body, Head, Text
from worker.rendering.limits import check_sizes
from worker.rendering.places import escape_comment, find_escapes, sentinels
from worker.rendering.theme import theme_of

MOST_VARIANTS = 64

_LINK = "https://pressrun.example/unsubscribe/" + "v1.a.sample-token-" * 5
# Every character that some place must escape, so that a place which does not is found out before the first mail.
_SAMPLES = (
    Recipient("o'hara+news@example.org", "Aoife \"Fé\" O'Hara & <Söhne>", "en-IE", _LINK, _LINK + "?a=1&b=2", _LINK),
    Recipient("reader@example.org", "", "", _LINK, _LINK, _LINK),
)
_NOBODY_IN_PARTICULAR = MessageIdentity("<content@pressrun.invalid>", datetime(2000, 1, 1, tzinfo=UTC))


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
            raise self.fault(f"the page cannot be inlined: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class Variant:
    head: Head
    body: Body

    def message(self, recipient: Recipient, identity: MessageIdentity) -> bytes:
        return self.head.fill(recipient, identity) + self.body.fill(recipient)


@dataclass(slots=True)
class Fork:
    """A condition, and what follows from either answer."""

    guard: Guard
    arms: dict[bool, Fork | Variant] = field(default_factory=dict)


class CompiledMail:
    """A mail whose work per reader is a join. Not to be shared between threads that compile."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._root: Fork | Variant | None = None
        self._variants = 0
        self.warnings: tuple[str, ...] = ()
        for sample in _SAMPLES:
            self._variant(clean_recipient(sample), verify=self._variants == 0)

    def personalise(self, recipient: Recipient, identity: MessageIdentity) -> bytes:
        """The whole message (RFC 5322) with CRLF line ends, ready for DATA: 7-bit but for an address with a
        local part outside ASCII, no line starting with a dot.

        Raises `TemplateFault` where this reader takes a way through the template that does not work, or
        where there are more than 64 ways; `ContentTooLarge`; `Unaddressable`.
        """
        cleaned = clean_recipient(recipient)
        return self._variant(cleaned).message(cleaned, identity)

    def content(self, recipient: Recipient) -> Content:
        """The decoded parts of the very message that `personalise` makes."""
        data = self.personalise(recipient, _NOBODY_IN_PARTICULAR)
        message = message_from_bytes(data, policy=policy.default)
        html, text = (_decoded(message, kind) for kind in ("html", "plain"))
        return Content(str(message["Subject"]), html, text)

    def _variant(self, recipient: Recipient, *, verify: bool = False) -> Variant:
        node = self._root
        while isinstance(node, Fork):
            node = node.arms.get(node.guard(recipient))
        return node if node is not None else self._compile(recipient, verify=verify)

    def _compile(self, recipient: Recipient, *, verify: bool) -> Variant:
        trace, pages, alone = _traced(self._source, recipient)
        if self._variants >= MOST_VARIANTS:
            place = list(trace.places.values())[-1]
            raise place.fault(f"the conditions on recipient make more than {MOST_VARIANTS} different mails; use fewer")
        subject, text = _plain(pages.subject, trace), _plain(pages.text, trace)
        _compare(trace, recipient, self._source.file("subject.txt"), subject, alone.subject, clean_text)
        _compare(trace, recipient, self._source.file("body.txt"), text, alone.text)
        _compare(trace, recipient, self._source.file("body.html"), _raw_html(pages.html, trace), alone.html)
        html = self._inlined_html(pages.html, trace)
        if verify and html.fill(recipient) != self._source.inlined(alone.html):
            raise self._source.fault("the page is inlined differently for different readers; a rule of its <style> looks at what a recipient's field fills")
        self.warnings += tuple(one for one in check_sizes(self._source, html.fill(recipient)) if one not in self.warnings)
        head = Head(self._source.publication, self._source.kind, self._source.mailing_list, subject)
        return self._hang(Variant(head, Body(text, html)), trace.guards)

    def _inlined_html(self, html: str, trace: Trace) -> Text:
        page = self._source.inlined(html)
        slots = [(trace.outputs[number][0], escape) for number, escape in find_escapes(page, trace)]
        return Text(tuple(sentinels(trace.mark).split(page)[::2]), tuple(slots))

    def _hang(self, variant: Variant, guards: Mapping[Guard, bool]) -> Variant:
        """Put the variant at the end of its answers. The same answers always lead to the same next question."""
        self._variants += 1
        attach: Callable[[Fork | Variant], None] = self._plant
        node = self._root
        for guard, answer in guards.items():
            if not isinstance(node, Fork):
                node = Fork(guard)
                attach(node)
            attach, node = _setter(node, answer), node.arms.get(answer)
        attach(variant)
        return variant

    def _plant(self, node: Fork | Variant) -> None:
        self._root = node


def _setter(fork: Fork, answer: bool) -> Callable[[Fork | Variant], None]:
    def attach(node: Fork | Variant) -> None:
        fork.arms[answer] = node

    return attach


def _decoded(message: object, kind: str) -> str:
    part = message.get_body((kind,))  # type: ignore[attr-defined]
    return str(part.get_content()).replace("\r\n", "\n")


def _mark(number: int) -> str:
    """Letters and digits in which the first occurs once, so that two sentinels never overlap."""
    return f"Zj{number:04d}pressrunq"


def _traced(source: Source, recipient: Recipient) -> tuple[Trace, Content, Content]:
    """The rendering with holes and the one for this recipient alone, with a mark that is in neither's content."""
    alone = source.pages(recipient)
    whole = alone.subject + alone.html + alone.text
    mark = next(mark for mark in map(_mark, count()) if mark not in whole)
    trace = Trace(recipient, mark)
    return trace, source.pages(TracedRecipient(trace)), alone


def _plain(page: str, trace: Trace) -> Text:
    parts = sentinels(trace.mark).split(page)
    return Text(tuple(parts[::2]), tuple((trace.outputs[int(number)][0], None) for number in parts[1::2]))


def _raw_html(page: str, trace: Trace) -> Text:
    text = _plain(page, trace)
    return Text(text.pieces, tuple((expression, escape_comment) for expression, _ in text.slots))


def _compare(
    trace: Trace, recipient: Recipient, file: str, text: Text, alone: str, clean: Callable[[str], str] = str
) -> None:  # fmt: skip
    """Whatever reached a hole's text by a way of its own (a captured block, |safe) shows here."""
    if clean(text.fill(recipient)) == alone:
        return
    place = next((place for expression, place in trace.outputs if place.file == file), Place(file, None))
    raise place.fault("a recipient's field is changed or measured after its output (a captured block, |safe, a filter block); put the filter on the field itself")


class MailCompiler:
    """Compiles the mails of all publications. `templates` is the folder that holds `email/`."""

    def __init__(self, templates: Path) -> None:
        self._templates = templates / "email"
        self._environments: dict[Path | None, jinja2.Environment] = {}

    def source(self, publication: Publication, kind: Kind, shared: Mapping[str, object]) -> Source:
        """The templates of one mail; a publication's own folder comes before the shipped ones."""
        environment = self._environments.get(publication.templates)
        if environment is None or not is_fresh(environment):
            environment = make_environment(self._templates, publication.templates)
            self._environments[publication.templates] = environment
        return Source(environment, publication, kind, shared)

    def compile(self, publication: Publication, kind: Kind, shared: Mapping[str, object]) -> CompiledMail:
        """`shared` is what `post_context` or `confirmation_context` made.

        Tries the mail on a reader with a name and on one without, so that a broken template raises here and
        not at the first mail: `TemplateFault` with file and line, `ContentTooLarge` with what to cut.
        """
        return CompiledMail(self.source(publication, kind, shared))


def render_alone(
    compiler: MailCompiler, publication: Publication, kind: Kind, shared: Mapping[str, object], recipient: Recipient
) -> Content:  # fmt: skip
    """The same mail for one reader, rendered by itself without holes: what a compiled one must equal."""
    source = compiler.source(publication, kind, shared)
    pages = source.pages(clean_recipient(recipient))
    return Content(pages.subject, source.inlined(pages.html), pages.text)
