"""A template that cannot be compiled says so before the first mail, with its file and line."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.rendering.making import IDENTITY, PUBLICATION, READER, TEMPLATES, folder_with, shared_for
from worker.domain.delivery import Kind
from worker.domain.errors import TemplateFault
from worker.domain.message import Recipient
from worker.rendering import MailCompiler


def page(line: str) -> str:
    return f"<!DOCTYPE html>\n<html><head><style>p {{ color: red }}</style></head><body>\n{line}\n</body></html>"


def compile_with(tmp_path: Path, body: str, *, kind: Kind = Kind.WELCOME) -> None:
    publication = folder_with(tmp_path, {f"{kind}/body.html": body})
    MailCompiler(TEMPLATES).compile(publication, kind, shared_for(kind))


BROKEN = {
    "a syntax error": ("{% if %}", "Expected an expression"),
    "an unknown tag": ("{% blink %}", "unknown tag"),
    "an unknown filter": ("{{ publication.name|shout }}", "No filter named"),
    "an unknown variable": ("{{ nothing }}", "'nothing' is undefined"),
    "an unknown field": ("{{ recipient.age }}", "recipient has no field 'age'; it has email, name"),
    "an unknown field in a condition": ("{% if recipient.age is defined %}x{% endif %}", "no field 'age'"),
    "the recipient itself": ("{{ recipient }}", "recipient itself is no text"),
    "arithmetic": ("{{ recipient.name + 'x' }}", "arithmetic cannot be done"),
    "multiplication": ("{{ 2 * recipient.name }}", "arithmetic cannot be done"),
    "joining": ("{{ 'Dear ' ~ recipient.name }}", "joining it into a text"),
    "formatting": ("{{ 'Dear %s'|format(recipient.name) }}", "joining it into a text"),
    "an unlisted filter": ("{{ recipient.name|reverse }}", "takes these filters only"),
    "safe": ("{{ recipient.name|safe }}", "takes these filters only"),
    "length": ("{{ recipient.name|length }}", "takes these filters only"),
    "a filter after escape": ("{{ recipient.name|e|upper }}", "escape must be the last filter"),
    "a method": ("{{ recipient.name.upper() }}", "has no such part"),
    "an index": ("{{ recipient.name[0] }}", "looking into it"),
    "a loop": ("{% for one in recipient.name %}{{ one }}{% endfor %}", "iterating"),
    "an order": ("{% if recipient.name < 'm' %}x{% endif %}", "ordering"),
    "two fields compared": ("{% if recipient.name == recipient.email %}x{% endif %}", "compare a recipient's field"),
    "a test": ("{% if recipient.name is string %}x{% endif %}", "ask whether a recipient's field is filled"),
    "membership": ("{% if 'x' in recipient.email %}x{% endif %}", "looking into it"),
    "a key": ("{{ {'de': 'Hallo'}[recipient.locale] }}", "recipient.locale: looking it up"),
    "a captured block, filtered": (
        "{% set who %}{{ recipient.name }}{% endset %}{{ who|upper }}", "changed or measured after its output"),
    "a filter block": ("{% filter upper %}{{ recipient.name }}{% endfilter %}", "changed or measured"),
    "a captured block, asked": (
        "{% set who %}{{ recipient.name }}{% endset %}{% if who %}x{% endif %}", "changed or measured"),
    "a captured block as a default": (
        "{% set who %}{{ recipient.name }}{% endset %}{{ recipient.email|default(who, true) }}", "plain texts only"),
    "no escaping": ("{% autoescape false %}{{ recipient.name }}{% endautoescape %}", "changed or measured"),
    "a hole in a script": ("<script>{{ recipient.name }}</script>", "<style>, <script>"),
    "a hole in a style": ("<style data-premailer='ignore'>{{ recipient.name }}</style>", "<style>, <script>"),
    "a hole in a style attribute": ("<p style='color: {{ recipient.name }}'>x</p>", "stands in style="),
    "a hole in a class": ("<p class='{{ recipient.locale }}'>x</p>", "stands in class="),
    "a hole in a handler": ("<p onclick='{{ recipient.name }}'>x</p>", "stands in onclick="),
    "a hole in a comment": ("<!-- {{ recipient.name }} -->", "stands in a comment"),
    "a hole as a tag": ("<{{ recipient.name }}>x", "where no text can be"),
    "a hole as an attribute": ("<p {{ recipient.name }}=x>x</p>", "where no text can be"),
    "a name as a link": ("<a href='{{ recipient.name }}'>x</a>", "the URL href="),
    "a name as a link's start": ("<a href='{{ recipient.name|urlencode }}'>x</a>", "the URL href="),
    "a name as a link's host": ("<a href='https://{{ recipient.name|urlencode }}/'>x</a>", "the URL href="),
    "a link with more": ("<a href='{{ recipient.manage_url }}?x=1'>x</a>", "the URL href="),
    "a name in a link, not encoded": ("<a href='https://a.example/?{{ recipient.name }}'>x</a>", "the URL href="),
    "a name as a picture": ("<img src='{{ recipient.email }}'>", "the URL src="),
    "a division": ("{{ 1 / 0 }}", "ZeroDivisionError"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_template_names_its_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        compile_with(tmp_path, page(line))
    assert message in str(caught.value)
    assert caught.value.file.endswith("welcome/body.html")
    assert caught.value.line == 3
    assert str(caught.value).startswith(f"{caught.value.file}:3: ")


def test_a_fault_in_the_branch_of_nameless_readers_is_found_before_the_first_mail(tmp_path: Path) -> None:
    with pytest.raises(TemplateFault, match=r":3: 'nothing' is undefined"):
        compile_with(tmp_path, page("{% if recipient.name %}x{% else %}{{ nothing }}{% endif %}"))


def test_a_fault_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    publication = folder_with(
        tmp_path, {"welcome/body.html": page("{% include 'part.html' %}"), "part.html": "\n{{ nothing }}"}
    )
    with pytest.raises(TemplateFault, match=r"part\.html:2: "):
        MailCompiler(TEMPLATES).compile(publication, Kind.WELCOME, shared_for(Kind.WELCOME))


def test_a_fault_in_subject_or_text_names_that_file(tmp_path: Path) -> None:
    for name in ("subject.txt", "body.txt"):
        publication = folder_with(tmp_path / name, {f"welcome/{name}": "{{ recipient.nickname }}"})
        with pytest.raises(TemplateFault, match=rf"welcome/{name}:1: recipient has no field 'nickname'"):
            MailCompiler(TEMPLATES).compile(publication, Kind.WELCOME, shared_for(Kind.WELCOME))


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateFault, match=r"^nowhere\.html: there is no such template"):
        compile_with(tmp_path, "{% extends 'nowhere.html' %}")


def test_a_template_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    publication = folder_with(tmp_path, {"welcome/body.txt": ""})
    (tmp_path / "override/welcome/body.txt").write_bytes("Grüße".encode("latin-1"))
    with pytest.raises(TemplateFault, match=r"^welcome/body\.txt: UnicodeDecodeError"):
        MailCompiler(TEMPLATES).compile(publication, Kind.WELCOME, shared_for(Kind.WELCOME))


def test_more_than_64_variants_are_refused_with_the_place(tmp_path: Path) -> None:
    tests = "".join(f"{{% if recipient.locale == 'l{number}' %}}{number}{{% endif %}}" for number in range(80))
    publication = folder_with(tmp_path, {"welcome/body.html": page("x" + tests)})
    mail = MailCompiler(TEMPLATES).compile(publication, Kind.WELCOME, shared_for(Kind.WELCOME))
    # two ways are taken by the samples, with a name and without
    for number in range(62):
        mail.personalise(READER._replace(locale=f"l{number}"), IDENTITY)
    with pytest.raises(TemplateFault, match=r"more than 64 different mails") as caught:
        mail.personalise(READER._replace(locale="l62"), IDENTITY)
    assert caught.value.line is not None
    assert caught.value.file.endswith((".html", ".txt"))
    # those that were compiled before go on working
    assert "0" in mail.content(READER._replace(locale="l0")).html


def test_threads_share_a_mail(tmp_path: Path) -> None:
    tests = "".join(f"{{% if recipient.locale == 'l{number}' %}}-{number}-{{% endif %}}" for number in range(20))
    publication = folder_with(tmp_path, {"welcome/body.html": page("x" + tests)})
    mail = MailCompiler(TEMPLATES).compile(publication, Kind.WELCOME, shared_for(Kind.WELCOME))
    locales = [f"l{number}" for number in range(20)] * 5
    with ThreadPoolExecutor(8) as pool:
        contents = pool.map(lambda locale: mail.content(READER._replace(locale=locale)).html, locales)
    assert all(f"x-{locale[1:]}-" in html for locale, html in zip(locales, contents, strict=True))


def test_style_over_16_kb_is_refused(tmp_path: Path) -> None:
    rules = "".join(f".c{number}:hover {{ color: #{number:06x} }}\n" for number in range(600))
    with pytest.raises(TemplateFault, match=r"body\.html: .* bytes of <style> are left"):
        compile_with(tmp_path, page(f"<style data-premailer='ignore'>{rules}</style>"))


def test_a_rule_that_looks_at_a_recipients_field_is_refused(tmp_path: Path) -> None:
    body = page("<style>a[href^=https] { color: red }</style><a href='{{ recipient.manage_url }}'>x</a>")
    with pytest.raises(TemplateFault, match="a rule of the page's <style>"):
        compile_with(tmp_path, body)


def test_an_override_takes_the_place_of_one_file_and_can_extend_it(tmp_path: Path) -> None:
    publication = folder_with(
        tmp_path,
        {
            "confirmation/subject.txt": "Ja? {{ recipient.email }}",
            "confirmation/body.html": "{% extends 'default/confirmation/body.html' %}"
            "{% block title %}Bitte bestätigen{% endblock %}",
        },
    )
    compiler = MailCompiler(TEMPLATES)
    ours = compiler.compile(publication, Kind.CONFIRMATION, shared_for(Kind.CONFIRMATION)).content(READER)
    theirs = compiler.compile(PUBLICATION, Kind.CONFIRMATION, shared_for(Kind.CONFIRMATION)).content(READER)
    assert ours.subject == "Ja? ada@example.org"
    assert "<title>Bitte bestätigen</title>" in ours.html
    assert "Confirm subscription" in ours.html
    assert ours.text == theirs.text
    assert theirs.subject == "Confirm your subscription to The Daily"


def test_a_template_mended_on_disk_is_read_again(tmp_path: Path) -> None:
    publication = folder_with(tmp_path, {"welcome/subject.txt": "{{ recipient.nickname }}"})
    compiler = MailCompiler(TEMPLATES)
    with pytest.raises(TemplateFault):
        compiler.compile(publication, Kind.WELCOME, shared_for(Kind.WELCOME))
    path = tmp_path / "override/welcome/subject.txt"
    path.write_text("Hello {{ recipient.name }}", "utf-8")
    os.utime(path, (1, 1))
    mail = compiler.compile(publication, Kind.WELCOME, shared_for(Kind.WELCOME))
    assert mail.content(Recipient("a@example.org", "Ada")).subject == "Hello Ada"
