"""What a sign-up form says, read and checked."""

from __future__ import annotations

from dataclasses import dataclass

from worker.audience.addresses import Address, parse_address
from worker.domain.errors import FieldProblem, InvalidInput
from worker.domain.publication import Publication
from worker.web.pages.fields import Fields, first

# A field that people do not see and programs fill in.
HONEYPOT = "website"

_MAX_NAME = 200
_MAX_FORM = 1_000
_MAX_WORDING = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A form that was filled in right."""

    address: Address
    name: str
    lists: tuple[str, ...]
    form: str
    wording: str


def read_form(publication: Publication, fields: Fields, *, ours: bool) -> Asked:
    """Check every field, so that all that is wrong is said at once. `ours`: the form on our page.

    Raises `InvalidInput` naming `email`, `name`, `lists`, `form`, `wording`.
    """
    problems: list[FieldProblem] = []
    address = None
    try:
        address = parse_address(first(fields, "email"))
    except InvalidInput as error:
        problems += error.problems
    lists = _lists(publication, [*fields.get("lists", []), *fields.get("list", [])], problems)
    name = " ".join(_text(fields, "name", _MAX_NAME, problems).split())
    form = "hosted form" if ours else _text(fields, "form", _MAX_FORM, problems) or "fetch"
    wording = consent_wording(publication) if ours else _text(fields, "wording", _MAX_WORDING, problems)
    if problems or address is None:
        raise InvalidInput(problems)
    return Asked(address, name, lists, form, wording)


def _lists(publication: Publication, named: list[str], problems: list[FieldProblem]) -> tuple[str, ...]:
    slugs = [one.slug for one in publication.lists]
    if not named and len(slugs) == 1:
        return tuple(slugs)
    unknown = [one for one in named if one not in slugs]
    if unknown or not named:
        choice = ", ".join(slugs)
        found = f"there is no list {unknown[0]!r}; " if unknown else ""
        problems.append(FieldProblem("lists", f"{found}choose at least one of: {choice}"))
    return tuple(dict.fromkeys(named))


def _text(fields: Fields, name: str, longest: int, problems: list[FieldProblem]) -> str:
    value = first(fields, name)
    if len(value) > longest:
        problems.append(FieldProblem(name, f"is too long; {longest} characters at most"))
    if any(not (one.isprintable() or one.isspace()) for one in value):
        problems.append(FieldProblem(name, "must not hold NUL or other control characters"))
    return value


def consent_wording(publication: Publication) -> str:
    """What our page says beside its button; kept with each consent given by it."""
    several = len(publication.lists) > 1
    what = "the lists you choose above" if several else publication.lists[0].name
    return (
        f"By subscribing you ask {publication.name} to send you {what} by email. "
        "You can leave at any time with one click."
    )
