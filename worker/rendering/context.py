"""What all readers of a mail share, made from a post or from a sign-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from markupsafe import Markup

from worker.domain.errors import InvalidInput
from worker.domain.publication import MailingList, Publication
from worker.rendering.cleaning import clean_text, clean_url
from worker.rendering.plaintext import to_text
from worker.rendering.sanitising import absolute_to, sanitise

_PREHEADER = 140
_EXCERPT = 280


def post_context(
    publication: Publication, post: Mapping[str, object], *, list_slug: str | None = None
) -> dict[str, object]:  # fmt: skip
    """`post` is an event's `data.post`. Gives `post` (sanitised `html`, `text`, `title`, `url`, `excerpt`,
    `preheader`, `image`, `image_alt`, `date`, `authors`, `byline`, `tags`) and `list`.

    The date is the publication's: its time zone, its language. Raises `InvalidInput` for a post without a title,
    or one whose HTML is nested over 100 elements deep, or has over 50,000 tags, references and lines.
    """
    title = _line(post, "title")
    if not title:
        raise InvalidInput.of("data.post.title", "is missing or empty; give the post's title")
    url = clean_url(_string(post, "url"))
    base = url or publication.brand.url
    html = sanitise(_string(post, "html"), base)
    text = to_text(html)
    excerpt = _line(post, "excerpt")
    authors = _authors(post.get("authors"), base)
    shown = {
        "id": _line(post, "id"),
        "title": title,
        "url": url,
        "html": Markup(html),  # noqa: S704 - nh3 has just written it
        "text": text,
        "excerpt": _standfirst(publication, excerpt, text),
        "preheader": shorten(excerpt or clean_text(text) or title, _PREHEADER),
        "image": _absolute(_string(post, "image"), base),
        "image_alt": _line(post, "image_alt"),
        "date": local_date(publication, post.get("published_at")),
        "authors": authors,
        "byline": _enumerate([author["name"] for author in authors]),
        "tags": [clean_text(tag) for tag in _list(post.get("tags")) if isinstance(tag, str)],
    }
    return {"post": shown, "list": publication.list_named(list_slug) if list_slug else None}


def confirmation_context(
    publication: Publication, lists: Sequence[MailingList], expires_hours: float
) -> dict[str, object]:  # fmt: skip
    """For `confirmation`, `already_subscribed` and `welcome`: `lists`, `list` (the first) and `expires` in words."""
    return {"lists": tuple(lists), "list": next(iter(lists), None), "expires": duration(expires_hours)}


def local_date(publication: Publication, moment: object) -> str:
    """`February 9, 2025`: the day it was in the publication's time zone, in its language; nothing for nothing."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return ""
    if not isinstance(moment, datetime):
        return ""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return str(format_date(aware.astimezone(publication.timezone).date(), "long", locale=_locale(publication)))


def _locale(publication: Publication) -> Locale:
    try:
        return Locale.parse(publication.brand.language, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale("en")


def duration(hours: float) -> str:
    """`3 days`, `36 hours`, `30 minutes`."""
    if hours < 1:
        number, unit = round(hours * 60), "minute"
    elif hours >= 48 and hours % 24 == 0:
        number, unit = round(hours / 24), "day"
    else:
        number, unit = round(hours), "hour"
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def shorten(text: str, most: int) -> str:
    """At most `most` characters, cut at a space, with an ellipsis where something was cut."""
    if len(text) <= most:
        return text
    cut = text[: most - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut).rstrip(" ,;:.-–—") + "…"


def _standfirst(publication: Publication, excerpt: str, text: str) -> str:
    """Under the title. Above a full body it is left out where it would say the first lines twice."""
    body = clean_text(text)
    if publication.post_body == "full":
        return "" if excerpt and body.startswith(excerpt[:80]) else excerpt
    return excerpt or shorten(body, _EXCERPT)


def _authors(value: object, base: str) -> list[dict[str, str]]:
    authors = []
    for author in _list(value):
        if isinstance(author, Mapping) and _line(author, "name"):
            image, url = (_absolute(_string(author, key), base) for key in ("image", "url"))
            authors.append({"name": _line(author, "name"), "image": image, "url": url})
    return authors


def _enumerate(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _absolute(url: str, base: str) -> str:
    return clean_url(absolute_to(base)(url) or "") if url and not url.startswith("#") else ""


def _string(mapping: Mapping[str, object], key: str) -> str:
    value = mapping.get(key)
    return value if isinstance(value, str) else ""


def _line(mapping: Mapping[str, object], key: str) -> str:
    return clean_text(_string(mapping, key))


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()
