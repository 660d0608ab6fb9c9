"""What is tidy, and that tidy HTML is read as it always was."""

from __future__ import annotations

import pytest

from worker.rendering.sanitising import sanitise
from worker.rendering.tidy import MOST_DEEP, is_tidy

BASE = "https://blog.example/post/"


@pytest.mark.parametrize(
    "html",
    [
        "", "text & more", "<p>a <b>b</b></p>", '<p class="x" hidden data-a=\'1\'>a<br/>b<br>c</p>', "<P>a</p>",
        '<!--kg-card-begin: html--><p>a</p><!-- wp:paragraph {"a":1} -->', "<div>" * MOST_DEEP + "</div>" * MOST_DEEP,
        '<figure><img src="a.png" alt="a > b" /><figcaption>c</figcaption></figure>', "<ul>\n<li>a</li>\n</ul>",
    ],
)  # fmt: skip
def test_what_publishing_systems_write_is_tidy(html: str) -> None:
    assert is_tidy(html)


@pytest.mark.parametrize(
    "html",
    [
        "<p>a", "a</p>", "<b><i>a</b></i>", "<p title=x>a</p>", '<p title="<b>">a</p>', "a < b", "<", "<!-- a",
        "<!-->a-->",
        "<!--->a-->", "<!-- a --!> b -->", "<script>a</script>", "<textarea><b></textarea>", "<svg></svg>",
        "<object></object>",
        "<iframe src='x'></iframe>", "<!doctype html><p>a</p>", "<?php ?>", "<![CDATA[a]]>", "</br>", "<p/>a",
        "<div>" * (MOST_DEEP + 1) + "</div>" * (MOST_DEEP + 1), "<p " + "a='1' " * 40 + ">a</p>",
    ],
)  # fmt: skip
def test_what_two_parsers_may_read_as_two_things_is_not(html: str) -> None:
    assert not is_tidy(html)


@pytest.mark.parametrize(
    "html",
    [
        "<b>a<p>b</p>c</b>", "<h2>a<p>b</p></h2>", "<small><p>a</p></small>", '<a href="https://x.example/"><h3>a</h3></a>',
        "<ul><pre>a</pre></ul>",
    ],
)  # fmt: skip
def test_blocks_in_lines_stay_where_they_are(html: str) -> None:
    """libxml2 would close the line before the block: a tidy text does not go through it."""
    assert sanitise(html, BASE) == html
