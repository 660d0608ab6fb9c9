"""The promise of the room: a compiled mail equals, part by decoded part, the one rendered for that reader alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.rendering.making import IDENTITY, PUBLICATION, TEMPLATES, folder_with, parsed, shared_for
from worker.domain.delivery import Kind
from worker.domain.message import Recipient
from worker.rendering import CompiledMail, MailCompiler, render_alone
from worker.rendering.cleaning import clean_text

# Every place a field may stand in, every filter, conditions, and words around them that break naive splitting.
HTML = """<!DOCTYPE html>
<html lang="{{ recipient.locale|default('en', true) }}"><head><meta charset="utf-8">
<title>{{ recipient.name }} &amp; you</title><style>p { color: red } a { color: #123456 }</style></head><body>
<!--[if mso]><a href="{{ recipient.unsubscribe_url }}">x</a><![endif]-->
<p title="To {{ recipient.name }}, 'you' &quot;there&quot;">Hi {{ recipient.name }}{{ recipient.email }}!</p>
<img alt="{{ recipient.first_name }}" src="a.png"><a href="{{ recipient.unsubscribe_url }}">out</a>
<a href="https://blog.example/?who={{ recipient.name|urlencode }}&amp;x=1">{{ recipient.name|upper|truncate(9) }}</a>
{% if recipient.name == "Ada" %}<b>Ada</b>
{% elif recipient.first_name %}<i>{{ recipient.first_name|title }}</i>{% endif %}
{% if recipient.locale in ["de", "fr"] %}{{ recipient.locale }}{% endif %}{{ recipient.name|e }}
<pre>{{ recipient.name|capitalize }}</pre>
<table><tr><td>{{ recipient.name|lower|trim }}</td></tr></table>
{{ recipient.name|default(recipient.email, true) }}{{ recipient.name or "friend" }}
Zj0000pressrunq000000Z</body></html>"""
TEXT = """.{{ recipient.name }}
. {{ recipient.email }} \n{{ recipient.unsubscribe_url }}=
{{ recipient.name|escape }}{{ recipient.first_name|d("dear reader", true) }}
{% if recipient.name != "Ada" %}not Ada{% endif %}
"""
SUBJECT = "{{ recipient.first_name|default('You', true) }}, read this: {{ recipient.name|truncate(40) }} é"

awkward = st.sampled_from(
    list("<>&\"'=.?_@,;:\\()[]%#"
         "\r\n\t\x00\x0b\x1f\x85 \xa0é\u200d\u2028\u202e\ufeff\ufffe\ud800😀ßİ")
)
hostile = st.text(st.one_of(awkward, st.characters()), max_size=90)
names = st.one_of(hostile, st.sampled_from(["", "Ada", "ada", " ", "..", ".", "=?utf-8?q?=41?=", "a" * 300, "é" * 80]))
locals_ = st.one_of(st.from_regex(r"[a-z0-9.+_'\-]{1,64}", fullmatch=True), hostile.map(lambda text: text[:60]))
domains = st.sampled_from(["example.org", "xn--bcher-kva.example", "bücher.example", "[192.0.2.1]", "a b>c", ""])
tokens = st.from_regex(r"[A-Za-z0-9_\-.~=&?/%]{0,120}", fullmatch=True)
urls = st.one_of(tokens.map("https://mail.example/u/".__add__), st.sampled_from(["", "javascript:alert(1)"]), hostile)
recipients = st.builds(
    lambda local, domain, name, locale, one, two, three: Recipient(f"{local}@{domain}", name, locale, one, two, three),
    locals_, domains, names, st.sampled_from(["", "de", "fr", "en-GB", "<x>"]), urls, urls, urls,
)  # fmt: skip


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[MailCompiler, CompiledMail, Path]:
    folder = tmp_path_factory.mktemp("templates")
    files = {"welcome/body.html": HTML, "welcome/body.txt": TEXT, "welcome/subject.txt": SUBJECT}
    compiler = MailCompiler(TEMPLATES)
    return compiler, compiler.compile(folder_with(folder, files), Kind.WELCOME, shared_for(Kind.WELCOME)), folder


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(reader=Recipient("a@example.org", "Zj0001pressrunq000000Z"))
@example(reader=Recipient(".a..b@example.org", "..\n.", unsubscribe_url="https://x.example/" + "." * 200))
@given(reader=recipients)
def test_every_part_is_the_same(everything: tuple[MailCompiler, CompiledMail, Path], reader: Recipient) -> None:
    compiler, mail, folder = everything
    publication = folder_with(folder, {})
    assert mail.content(reader) == render_alone(
        compiler, publication, Kind.WELCOME, shared_for(Kind.WELCOME), reader
    )


@settings(max_examples=40, deadline=None)
@given(reader=recipients, kind=st.sampled_from(list(Kind)))
def test_every_shipped_mail_is_the_same(reader: Recipient, kind: Kind) -> None:
    compiler, mail = _shipped(kind)
    assert mail.content(reader) == render_alone(compiler, PUBLICATION, kind, shared_for(kind), reader)


_cache: dict[Kind, tuple[MailCompiler, CompiledMail]] = {}


def _shipped(kind: Kind) -> tuple[MailCompiler, CompiledMail]:
    if kind not in _cache:
        compiler = MailCompiler(TEMPLATES)
        _cache[kind] = compiler, compiler.compile(PUBLICATION, kind, shared_for(kind))
    return _cache[kind]


HEADERS = {
    "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "List-Id",
    "List-Unsubscribe", "List-Unsubscribe-Post",
}  # fmt: skip
_RAW_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(reader=Recipient("a@b.example\r\nBcc: x@y.example", "x\r\nBcc: y\r\n\r\nbody"))
@given(reader=recipients)
def test_no_value_makes_a_header_a_line_or_a_part(
    everything: tuple[MailCompiler, CompiledMail, Path], reader: Recipient
) -> None:
    _, mail, _ = everything
    data = mail.personalise(reader, IDENTITY)
    assert not _RAW_LINE_END.search(data)
    assert b"\r\n." not in data, "dot-stuffing would be needed"
    head, _, body = data.partition(b"\r\n\r\n")
    assert body.isascii()
    assert all(len(line) <= 76 for line in body.split(b"\r\n"))
    assert all(len(line) <= 998 for line in head.split(b"\r\n"))
    message = parsed(data)
    assert set(message.keys()) <= HEADERS
    assert len(message.keys()) == len(set(message.keys()))
    assert len(list(message.iter_parts())) == 2


@settings(max_examples=120, deadline=None)
@given(name=names)
def test_a_name_comes_back_from_the_header(name: str) -> None:
    _, mail = _shipped(Kind.CONFIRMATION)
    message = parsed(mail.personalise(Recipient("ada@example.org", name), IDENTITY))
    (address,) = message["To"].addresses
    assert address.addr_spec == "ada@example.org"
    assert "".join(address.display_name.split()) == "".join(clean_text(name).split())


def test_readers_who_answer_alike_share_a_variant(everything: tuple[MailCompiler, CompiledMail, Path]) -> None:
    _, mail, _ = everything
    ada = mail.content(Recipient("a@example.org", "Ada"))
    bob = mail.content(Recipient("b@example.org", "bob"))
    nobody = mail.content(Recipient("c@example.org"))
    assert "<b>Ada</b>" in ada.html
    assert "<i>Bob</i>" in bob.html
    assert "friend" in nobody.html
    assert "dear reader" in nobody.text
    assert nobody.subject == "You, read this: é"
