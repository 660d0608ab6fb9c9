"""What the shipped mails say, what their context is made from, and how large they may be."""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from tests.unit.rendering.making import IDENTITY, PUBLICATION, READER, TEMPLATES, compiled, sample_post
from worker.domain.delivery import Kind
from worker.domain.errors import InvalidInput
from worker.domain.message import Recipient
from worker.rendering import ContentTooLarge, MailCompiler, confirmation_context, post_context
from worker.rendering.context import duration, shorten
from worker.rendering.theme import theme_of


def test_a_new_post_has_all_that_a_reader_looks_for() -> None:
    content = compiled(Kind.NEW_POST).content(READER)
    post = sample_post()
    for part in (content.html, content.text):
        assert str(post["title"]) in part
        assert str(post["excerpt"]) in part
        assert "Chandraketu Tripathi" in part
        assert "February 9, 2025" in part
        assert "Trade Relations and Economic Cooperation" in part
        assert "https://www.reuters.com/" in part
        assert "ada@example.org is subscribed to New posts by The Daily" in part
        assert READER.unsubscribe_url in part
        assert READER.manage_url in part
        assert "1 Example Street" in part
        assert "View in browser" in part
    assert content.subject == post["title"]
    assert f'<a href="{post["url"]}"' in content.html
    assert 'alt="The two leaders shake hands in the Oval Office"' in content.html
    assert 'src="https://blog.example/content/images/authors/chandraketu.png"' in content.html
    assert 'src="https://blog.example/content/images/logo.png"' in content.html
    assert 'id="conclusion"' in content.html
    preheader = content.html.split('class="preheader"')[1].split("</div>")[0]
    assert "Japanese Prime Minister Shigeru Ishiba" in preheader


def test_a_publication_can_send_excerpts() -> None:
    publication = replace(PUBLICATION, post_body="excerpt")
    shared = post_context(publication, sample_post(), list_slug="posts")
    content = MailCompiler(TEMPLATES).compile(publication, Kind.NEW_POST, shared).content(READER)
    assert "Read more" in content.html
    assert "Read more: https://blog.example/ishiba-trump-first-summit/" in content.text
    assert "Trade Relations" not in content.html + content.text
    assert content.html.count("held their first summit, discussing trade") == 2, "preheader and body"


def test_a_post_of_a_title_alone_is_still_a_mail() -> None:
    shared = post_context(PUBLICATION, {"title": "Only this"})
    content = MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, shared).content(READER)
    assert "Only this" in content.html
    assert "Only this" in content.text
    assert 'href=""' not in content.html


@pytest.mark.parametrize("kind", [Kind.CONFIRMATION, Kind.ALREADY_SUBSCRIBED])
def test_what_a_form_sends_says_nothing_that_a_stranger_typed(kind: Kind) -> None:
    content = compiled(kind).content(READER._replace(name="WIN MONEY at evil.example"))
    assert "evil.example" not in content.subject + content.html + content.text


def test_a_confirmation_has_one_button_the_link_the_expiry_and_a_way_out() -> None:
    content = compiled(Kind.CONFIRMATION).content(READER)
    assert content.html.count(">Confirm subscription</a>") == 1
    assert content.html.count(READER.confirm_url) == 3, "the button, and the raw link that is a link"
    assert READER.confirm_url in content.text
    for part in (content.html, content.text):
        assert "New posts by The Daily" in part
        assert "3 days" in part
        assert "If this was not you, do nothing" in part


def test_a_welcome_greets_by_name_where_there_is_one() -> None:
    mail = compiled(Kind.WELCOME)
    assert "Welcome, Ada!" in mail.content(READER).text
    assert "Welcome!" in mail.content(Recipient("b@example.org")).text


@pytest.mark.parametrize(
    ("zone", "language", "shown"),
    [
        ("UTC", "en", "February 9, 2025"),
        ("Asia/Tokyo", "en", "February 10, 2025"),
        ("America/Los_Angeles", "en-GB", "9 February 2025"),
        ("Europe/Madrid", "es", "10 de febrero de 2025"),
        ("Asia/Tokyo", "ja", "2025年2月10日"),
        ("UTC", "tlh", "February 9, 2025"),
    ],
)
def test_a_date_is_the_publications(zone: str, language: str, shown: str) -> None:
    brand = replace(PUBLICATION.brand, language=language)
    publication = replace(PUBLICATION, timezone=ZoneInfo(zone), brand=brand)
    context = post_context(publication, {"title": "x", "published_at": "2025-02-09T23:30:00Z"})
    assert context["post"]["date"] == shown  # type: ignore[index]


@pytest.mark.parametrize("moment", [None, "", "soon", 12])
def test_no_date_is_no_date(moment: object) -> None:
    context = post_context(PUBLICATION, {"title": "x", "published_at": moment})
    assert context["post"]["date"] == ""  # type: ignore[index]


def test_a_title_is_one_line_and_must_be_there() -> None:
    context = post_context(PUBLICATION, {"title": "Big\r\nBcc: everybody@example.org \x00news"})
    mail = MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, context)
    assert b"\r\nBcc" not in mail.personalise(READER, IDENTITY)
    assert mail.content(READER).subject == "Big Bcc: everybody@example.org news"
    for title in ("", " \r\n", None, 7):
        with pytest.raises(InvalidInput, match=r"data\.post\.title"):
            post_context(PUBLICATION, {"title": title})


def test_a_title_of_html_is_text() -> None:
    context = post_context(PUBLICATION, {"title": "<b>1 < 2</b> & {{ recipient.email }}"})
    content = MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, context).content(READER)
    assert "&lt;b&gt;1 &lt; 2&lt;/b&gt; &amp; {{ recipient.email }}" in content.html
    assert content.subject == "<b>1 < 2</b> & {{ recipient.email }}"


def test_wrong_types_and_foreign_schemes_in_a_post_are_left_out() -> None:
    post = {
        "title": "x", "url": "javascript:alert(1)", "html": 7, "image": "data:image/png;base64,x", "tags": "World",
        "authors": [{"name": "A", "image": "/a.png", "url": "ftp://x"}, {"name": ""}, "B", {"name": "C"}],
    }  # fmt: skip
    shown = post_context(PUBLICATION, post)["post"]
    assert isinstance(shown, dict)
    assert (shown["url"], shown["html"], shown["image"], shown["tags"]) == ("", "", "", [])
    assert shown["byline"] == "A and C"
    assert shown["authors"][0] == {"name": "A", "image": "https://blog.example/a.png", "url": ""}


def test_an_excerpt_that_repeats_the_first_lines_is_left_out_above_a_full_body() -> None:
    post = {"title": "x", "html": "<p>Once upon a time there was a press.</p>", "excerpt": "Once upon a time"}
    assert post_context(PUBLICATION, post)["post"]["excerpt"] == ""  # type: ignore[index]


def _body(kilobytes: int) -> dict[str, object]:
    paragraph = "<p>" + "x" * 1000 + "</p>\n"
    return {**sample_post(), "html": paragraph * kilobytes}


def test_a_large_mail_is_a_warning() -> None:
    mail = MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, post_context(PUBLICATION, _body(83)))
    (warning,) = mail.warnings
    assert "Gmail clips near 102 KB" in warning
    assert compiled(Kind.NEW_POST).warnings == ()


def test_a_mail_too_large_says_what_to_cut() -> None:
    message = r"is 1\d\d KB, over the limit of 100 KB .* cut \d+ KB of the post, or set post_body"
    with pytest.raises(ContentTooLarge, match=message):
        MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, post_context(PUBLICATION, _body(120)))


def test_a_megabyte_is_refused_before_it_is_inlined() -> None:
    with pytest.raises(ContentTooLarge, match="the post's body is 9"):
        MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, post_context(PUBLICATION, _body(950)))


def test_a_text_that_is_many_times_its_post_is_refused() -> None:
    """Each line stands as far in as the numbers of all the lists around it."""
    html = 8 * "<ol start='-99999999'><li>" + 15_000 * "x<br>" + 8 * "</li></ol>"
    context = post_context(PUBLICATION, sample_post() | {"html": html})
    with pytest.raises(ContentTooLarge, match=r"the text of the mail is \d{4} KB, over the limit of 400 KB"):
        MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, context)


def test_a_listing_of_short_lines_is_sent() -> None:
    """Each of its lines is set in, in the text; nobody clips that."""
    html = f"<pre>{9000 * ('x' * 8 + chr(10))}</pre>"
    context = post_context(PUBLICATION, sample_post() | {"html": html})
    mail = MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, context)
    assert len(mail.personalise(READER, IDENTITY)) > 180_000


def test_an_excerpt_has_no_size() -> None:
    publication = replace(PUBLICATION, post_body="excerpt")
    mail = MailCompiler(TEMPLATES).compile(publication, Kind.NEW_POST, post_context(publication, _body(500)))
    assert mail.warnings == ()


@pytest.mark.parametrize(
    ("hours", "words"),
    [(72, "3 days"), (24, "24 hours"), (1, "1 hour"), (36, "36 hours"), (0.5, "30 minutes"), (48, "2 days")],
)
def test_durations(hours: float, words: str) -> None:
    assert duration(hours) == words
    assert confirmation_context(PUBLICATION, (), hours)["expires"] == words


def test_shortening_cuts_at_a_word() -> None:
    assert shorten("one two three", 9) == "one two…"
    assert shorten("one two", 7) == "one two"
    assert shorten("x" * 20, 5) == "xxxx…"


@pytest.mark.parametrize(
    ("color", "on_color"),
    [("#1a56db", "#ffffff"), ("#ffd400", "#111111"), ("#fff", "#111111"), ("#000000", "#ffffff"), ("red;}", "#ffffff")],
)
def test_a_label_reads_on_any_brand_colour(color: str, on_color: str) -> None:
    theme = theme_of(color)
    assert theme.on_color == on_color
    assert theme.color.startswith("#")
    assert len(theme.color) == len(theme.dark_color) == 7


@pytest.mark.parametrize("kind", list(Kind))
def test_style_left_after_inlining_is_small(kind: Kind) -> None:
    html = compiled(kind).content(READER).html
    assert 0 < len(html.split("<style>")[1].encode()) < 8 * 1024
