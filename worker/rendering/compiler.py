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
from pathlib import Path
from threading import Lock

import jinja2

from worker.domain.delivery import Kind
from worker.domain.message import Content, MessageIdentity, Recipient
from worker.domain.publication import Publication
from worker.rendering.cleaning import clean_recipient, clean_text
from worker.rendering.environment import is_fresh, make_environment
from worker.rendering.holes import Guard, Trace
from worker.rendering.layout import Body, Head, Text
from worker.rendering.limits import check_rendered, check_sizes, check_text
from worker.rendering.places import find_escapes, sentinels
from worker.rendering.source import Source, compare, plain_text, raw_html, traced

MOST_VARIANTS = 64

_LINK = "https://pressrun.example/unsubscribe/" + "v1.a.sample-token-" * 5
# Every character that some place must escape, so that a place which does not is found out before the first mail.
_SAMPLES = (
    Recipient("o'hara+news@example.org", "Aoife \"Fé\" O'Hara & <Söhne>", "en-IE", _LINK, _LINK + "?a=1&b=2", _LINK),
    Recipient("reader@example.org", "", "", _LINK, _LINK, _LINK),
)
_NOBODY_IN_PARTICULAR = MessageIdentity("<content@pressrun.invalid>", datetime(2000, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Variant:
    head: Head
    body: Body

    def message(self, recipient: Recipient, identity: MessageIdentity) -> bytes:
        return b"".join((self.head.fill(recipient, identity), *self.body.fill(recipient)))


@dataclass(slots=True)
class Fork:
    """A condition, and what follows from either answer."""

    guard: Guard
    arms: dict[bool, Fork | Variant] = field(default_factory=dict)


class CompiledMail:
    """A mail whose work per reader is a join. Threads may share it: variants are compiled one at a time."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._root: Fork | Variant | None = None
        self._variants = 0
        self._compiling = Lock()
        self.warnings: tuple[str, ...] = ()
        for sample in _SAMPLES:
            self._variant(clean_recipient(sample), verify=self._variants == 0)

    def personalise(self, recipient: Recipient, identity: MessageIdentity) -> bytes:
        """The whole message (RFC 5322) with CRLF line ends, ready for DATA: 7-bit but for an address with a
        local part outside ASCII, no line starting with a dot.

        Raises `TemplateFault` where this reader takes a way through the template that does not work, or
        where there are more than 64 ways; `ContentTooLarge`; `Unaddressable`.
        """
        return self.fill(clean_recipient(recipient), identity)

    def fill(self, recipient: Recipient, identity: MessageIdentity) -> bytes:
        """`personalise` for a recipient who is clean already."""
        return self._variant(recipient).message(recipient, identity)

    def content(self, recipient: Recipient) -> Content:
        """The decoded parts of the very message that `personalise` makes."""
        data = self.personalise(recipient, _NOBODY_IN_PARTICULAR)
        message = message_from_bytes(data, policy=policy.default)
        html, text = (_decoded(message, kind) for kind in ("html", "plain"))
        return Content(str(message["Subject"]), html, text)

    def _variant(self, recipient: Recipient, *, verify: bool = False) -> Variant:
        found = self._found(recipient)
        if found is not None:
            return found
        with self._compiling:  # another thread may have just compiled it
            return self._found(recipient) or self._compile(recipient, verify=verify)

    def _found(self, recipient: Recipient) -> Variant | None:
        node = self._root
        while isinstance(node, Fork):
            node = node.arms.get(node.guard(recipient))
        return node

    def _compile(self, recipient: Recipient, *, verify: bool) -> Variant:
        trace, pages, alone = traced(self._source, recipient)
        if self._variants >= MOST_VARIANTS:
            place = list(trace.places.values())[-1]
            raise place.fault(f"the conditions on recipient make more than {MOST_VARIANTS} different mails; use fewer")
        subject, text = plain_text(pages.subject, trace), plain_text(pages.text, trace)
        compare(trace, recipient, self._source.file("subject.txt"), subject, alone.subject, clean_text)
        compare(trace, recipient, self._source.file("body.txt"), text, alone.text)
        compare(trace, recipient, self._source.file("body.html"), raw_html(pages.html, trace), alone.html)
        check_rendered(self._source, alone.html)
        check_text(alone.text)
        html = self._inlined_html(pages.html, trace)
        if verify and html.fill(recipient) != self._source.inlined(alone.html):
            raise self._source.fault("a rule of the page's <style> looks at what a recipient's field fills; drop it")
        found = check_sizes(self._source, html.fill(recipient))
        self.warnings += tuple(one for one in found if one not in self.warnings)
        head = Head(self._source.publication, self._source.kind, self._source.mailing_list, subject)
        return self._hang(Variant(head, Body(text, html)), trace.guards)

    def _inlined_html(self, html: str, trace: Trace) -> Text:
        page = self._source.inlined(html)
        slots = [(trace.outputs[number][0], escape) for number, escape in find_escapes(html, page, trace)]
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
        not at the first mail: `TemplateFault` with file and line, `ContentTooLarge` with what to cut (HTML or text).
        """
        return CompiledMail(self.source(publication, kind, shared))


def render_alone(
    compiler: MailCompiler, publication: Publication, kind: Kind, shared: Mapping[str, object], recipient: Recipient
) -> Content:  # fmt: skip
    """The same mail for one reader, rendered by itself without holes: what a compiled one must equal."""
    source = compiler.source(publication, kind, shared)
    pages = source.pages(clean_recipient(recipient))
    return Content(pages.subject, source.inlined(pages.html), pages.text)
