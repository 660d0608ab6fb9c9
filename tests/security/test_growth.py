"""Work that grows faster than what is sent: a megabyte must not keep a worker busy for an hour."""

from __future__ import annotations

import contextlib
import gc
import io
import time
from collections.abc import Callable

import pytest

from tests.unit.rendering.making import PUBLICATION
from worker.audience.addresses import parse_address
from worker.audience.csvfile import read_rows
from worker.delivery.transports.reading import ReplyReader, read_reply
from worker.domain.errors import InvalidInput
from worker.domain.replies import Reply, Stage, judge
from worker.intake.cloudevents import parse_event
from worker.redaction import redact
from worker.rendering.cleaning import clean_lines, clean_text, clean_url
from worker.rendering.context import post_context
from worker.rendering.sanitising import MOST_PIECES, pieces, sanitise
from worker.rendering.tidy import is_tidy

# Four times as much in four times the time is 4, in its square 16, in its cube 64. Nobody measures well on a busy
# machine: what takes so little is not judged, and what is judged may be far from straight.
_UNJUDGED_SECONDS = 1.0
_MOST_GROWTH = 24
_SMALL, _LARGE = 65_536, 262_144

HTML = {
    "tags that nobody closes": "<div>",
    "bold that nobody closes": "<b>",
    "bold with names that differ": "<b id={n}>",
    "bold with many attributes": "<b id={n} a b c d e f g h i j k l m>",
    "links across blocks": "<a href=x><div>",
    "lists": "<ul><li>",
    "tables": "<table><tr><td>",
    "forms": "<form><div>",
    "paragraphs across italics": "<p><i>",
    "ends without a beginning": "</p></b>",
    "ends in the wrong order": "<b><i></b>",
    "boundaries": "<div><object></div></object>",
    "frames": "<iframe src=https://x.example></iframe>",
    "films": "<video><source src=x>",
    "drawings": "<svg><g>",
    "formulas": "<math><mi>",
    "choices": "<select><option>",
    "templates": "<template><p>",
    "beginnings of comments": "<!--",
    "beginnings of tags": "<",
    "ampersands": "&",
    "entities": "&nbsp;&#0;",
    "quotes": "<a title='",
    "attributes": "<p a{n}=1 b{n} ",
    "text": "<p>word</p>",
    "ends of documents": "</body </html\n",
    "bold that is closed": "<b id='{n}'>x</b>",
    "tables in tables' cells": "<table><tr><td>x</td></tr></table>",
    "comments that end twice": "<!-- --!> -- -->",
}


@pytest.mark.parametrize("piece", HTML.values(), ids=HTML.keys())
def test_a_post_of_hostile_html_takes_time_by_its_size(piece: str) -> None:
    # more would be refused at once
    most = min(_LARGE, MOST_PIECES * len(piece) // max(1, pieces(piece)))
    _assert_grows_no_faster(_read_post, lambda size: _repeated(piece, most * size // _LARGE))


def test_a_post_that_is_tidy_and_as_deep_as_may_be_takes_time_by_its_size() -> None:
    """Ninety open elements with thirty attributes each, and in them as many more as there is room for."""
    names = " ".join(f"{name}='1'" for name in "abcdefghijklmnopqrstuvwxyzABCD")
    before = "".join(f"<b id='{number}' {names}>" for number in range(90))

    def make(size: int) -> str:
        return before + "<i id='1'>x</i>" * (size // 15) + "</b>" * 90

    assert is_tidy(make(_SMALL))
    _assert_grows_no_faster(lambda text: sanitise(text, "https://blog.example/"), make)


# Each as large as it may be, or larger.
SQUARES = {
    "lines in a table and in no cell": "<table>" + "<p>" * 49_900,
    "comments before them": "x<!---->" * 24_900 + "<table>" + "<br>x" * 24_900 + "</table>",
    "declarations before signs": "x<?>" * 125_000 + "<table>x" + ">" * 490_000 + "<p>",
    "references in one text": "&" * 49_900 + "x" * 900_000,
    "references in a title": f"<b title='{'&' * 49_900}{'x' * 900_000}'>",
    "empty lines in quotations": "<i><blockquote>" * 46 + "<pre>x" + "\n" * 49_800 + "x",
    "more empty lines": "<i><blockquote>" * 46 + "<pre>x" + "\n" * 990_000 + "x",
    "lines in lists": "<ol start=-999999999><li>" * 8 + "<pre>x" + "\nx" * 49_800,
}


@pytest.mark.parametrize("html", SQUARES.values(), ids=SQUARES.keys())
def test_what_takes_the_square_of_its_size_is_bounded(html: str) -> None:
    """By what a plain post of as many tags takes."""
    hostile, plain = _cpu_seconds(_read_post, html), _cpu_seconds(_read_post, "<p>some words</p>" * 49_900)
    assert hostile < 8 * plain, (hostile, plain)


def test_ends_of_nothing_behind_more_than_may_be_open_take_no_time() -> None:
    """libxml2 looks through all that is open with each of them, and reads on when it was told to stop."""
    hostile, plain = "<b>" * 40_000 + "</x>" * 200_000, "<p>word</b></p>" * 40_000
    seconds = [_cpu_seconds(lambda text: sanitise(text, "https://blog.example/"), one) for one in (hostile, plain)]
    assert seconds[0] < seconds[1], seconds


TEXTS: dict[str, tuple[Callable[[str], object], str]] = {
    "an address of dots": (parse_address, "a."),
    "an address of ats": (parse_address, "@"),
    "a domain of labels": (lambda text: parse_address(f"a@{text}"), "a-."),
    "a name of spaces": (clean_text, " \t"),
    "lines": (clean_lines, "\r\x0b"),
    "a URL": (clean_url, "http://%é"),
    "a log line of words": (redact, "a."),
    "a log line of schemes": (redact, "a://b:"),
    "a log line of secrets": (redact, "bearer whsec_"),
    "an event": (lambda text: parse_event([("content-type", "application/json")], text.encode()), '{"a":"'),
    "a media type": (lambda text: parse_event([("content-type", text)], b""), "a/b;"),
    "a header of an event": (
        lambda text: parse_event([("content-type", "a/b"), ("ce-id", text), ("ce-specversion", "1.0")], b""), '"\\%C3',
    ),
    "a reply": (lambda text: judge(Reply(450, "4.0.0", text), Stage.RCPT), "too rate "),
    "a reply in lines": (
        lambda text: [read_reply(one) for one in ReplyReader().feed(text.encode())], "250-5.1.1 \t5.1.1\r\n",
    ),
    "a reply without an end": (lambda text: ReplyReader().feed(text.encode()), "250-a"),
    "a CSV of quotes": (lambda text: list(read_rows(io.BytesIO(b"email,name\n" + text.encode()))), '"",'),
    "a CSV of labels": (lambda text: list(read_rows(io.BytesIO(b"email,labels\na@b.example," + text.encode()))), ";a"),
}  # fmt: skip


@pytest.mark.parametrize(("read", "piece"), TEXTS.values(), ids=TEXTS.keys())
def test_a_hostile_text_takes_time_by_its_size(read: Callable[[str], object], piece: str) -> None:
    _assert_grows_no_faster(read, lambda size: _repeated(piece, size))


def _read_post(html: str) -> None:
    post_context(PUBLICATION, {"title": "t", "url": "https://blog.example/", "html": html})


def _repeated(piece: str, size: int) -> str:
    if "{n}" in piece:
        return "".join(piece.replace("{n}", str(number)) for number in range(size // (len(piece) + 2)))
    return piece * (size // len(piece))


def _assert_grows_no_faster(read: Callable[[str], object], make: Callable[[int], str]) -> None:
    """Of up to three tries: who shares the processor's cache makes the larger text dearer (once 24 times for 10)."""
    seen = []
    for _ in range(3):
        small, large = _cpu_seconds(read, make(_SMALL)), _cpu_seconds(read, make(_LARGE))
        seen.append((round(small, 3), round(large, 3)))
        # in its square, a megabyte of it would be twice what a task has
        assert large < 15
        if large < _UNJUDGED_SECONDS or large / small < _MOST_GROWTH:
            return
    raise AssertionError(f"seconds for {_SMALL} and {_LARGE} bytes: {seen}")


def _cpu_seconds(read: Callable[[str], object], text: str) -> float:
    """Without the time that looking for garbage takes: that grows with what all tests before have left behind."""
    gc.disable()
    try:
        start = time.process_time()
        with contextlib.suppress(InvalidInput):
            read(text)
        return time.process_time() - start
    finally:
        gc.enable()
