"""A publication's colour stays readable, and nothing of a publication's settings gets into the policy."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from hashlib import sha256

import pytest

from tests.integration.audience.conftest import DAILY
from worker.domain.publication import Brand
from worker.resources import templates_dir
from worker.web.pages.colors import _parse, contrast, ink_on, readable_on
from worker.web.pages.render import Pages

COLORS = ["#1a56db", "#ffe600", "#000000", "#ffffff", "#777777", "#ff0000", "#0000ff", "#00ff00", "#7f7f00"]


@pytest.mark.parametrize("color", COLORS)
def test_text_reads_well_on_and_beside_any_colour(color: str) -> None:
    assert contrast(_parse(ink_on(color)), _parse(color)) >= 4.5
    for ground in ("#ffffff", "#1c1f24"):
        assert contrast(_parse(readable_on(color, ground)), _parse(ground)) >= 4.5


def test_a_colour_that_reads_well_is_left_alone() -> None:
    assert readable_on("#1a56db", "#ffffff") == "#1a56db"
    assert (ink_on("#1a56db"), ink_on("#ffe600")) == ("#ffffff", "#000000")


def test_the_policy_allows_this_style_and_this_logo_alone() -> None:
    answer = Pages(templates_dir() / "web").message(DAILY, "Title", "Text")
    style = re.search(rb"<style>(.*?)</style>", bytes(answer.body), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(sha256(style[1]).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert f"style-src 'sha256-{digest}';" in policy
    assert "img-src 'none';" in policy, "this publication has no logo"


@pytest.mark.parametrize(
    ("logo", "allowed"),
    [
        ("https://cdn.example/logo.png", "https://cdn.example"),
        ("https://user@cdn.example:8443/logo.png", "https://cdn.example:8443"),
        ("https://cdn.example;script-src/logo.png", "'none'"),
    ],
)
def test_a_logo_adds_its_origin_and_no_words(logo: str, allowed: str) -> None:
    publication = replace(DAILY, brand=Brand("https://blog.example", logo=logo))
    policy = Pages(templates_dir() / "web").message(publication, "T", "t").headers["content-security-policy"]
    assert f"img-src {allowed};" in policy


def test_text_is_escaped_and_its_apostrophes_are_kept() -> None:
    body = bytes(Pages(templates_dir() / "web").message(None, "<T>", "it's <b>").body).decode()
    assert "it's &lt;b&gt;" in body
    assert "<h1>&lt;T&gt;</h1>" in body
