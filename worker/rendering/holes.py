"""Tracing with guards: one rendering that learns what a template says about `recipient`.

The template runs with `TracedRecipient`, whose fields are holes. A hole that is output becomes a sentinel, a run
of letters and digits that passes through escaping, the inliner and the parsers unchanged. A condition on a hole
is answered with the value of the recipient at hand and recorded as a guard: whoever gives the same answers gets
the same page. Everything else about a hole raises `TemplateFault` with the place in the template.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from types import FrameType
from typing import NoReturn

from markupsafe import Markup

from worker.domain.errors import TemplateFault
from worker.domain.message import Recipient

FIELDS = ("email", "name", "first_name", "locale", "unsubscribe_url", "manage_url", "confirm_url")
URL_FIELDS = frozenset(name for name in FIELDS if name.endswith("_url"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a template something is said."""

    file: str
    line: int | None

    def fault(self, message: str) -> TemplateFault:
        return TemplateFault(self.file, self.line, message)


def here() -> Place:
    """The line of the innermost template that is running (Jinja keeps the template among the frame's globals)."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        template = frame.f_globals.get("__jinja_template__")
        if template is not None:
            line = template.get_corresponding_lineno(frame.f_lineno)
            return Place(template.filename or template.name or "template", line)
        frame = frame.f_back
    return Place("template", None)


@dataclass(frozen=True, slots=True)
class Applied:
    """One filter of the list, with its arguments; an argument may be another hole's expression."""

    name: str
    function: Callable[..., object] = field(compare=False)
    args: tuple[object, ...] = ()
    kwargs: tuple[tuple[str, object], ...] = ()

    def __call__(self, value: str, recipient: Recipient) -> str:
        args = [_value(arg, recipient) for arg in self.args]
        kwargs = {key: _value(arg, recipient) for key, arg in self.kwargs}
        return str(self.function(value, *args, **kwargs))


@dataclass(frozen=True, slots=True)
class Expression:
    """What stands in a hole: a field and the filters on it."""

    field: str
    filters: tuple[Applied, ...] = ()

    def __call__(self, recipient: Recipient) -> str:
        value: str = getattr(recipient, self.field)
        for one in self.filters:
            value = one(value, recipient)
        return value

    @property
    def last(self) -> str:
        return self.filters[-1].name if self.filters else ""

    @property
    def is_url(self) -> bool:
        return self.field in URL_FIELDS and not self.filters

    def reader(self) -> Callable[[Recipient], str]:
        """The same as calling it, by the shortest way."""
        return self if self.filters else attrgetter(self.field)

    def __str__(self) -> str:
        return "|".join((f"recipient.{self.field}", *(one.name for one in self.filters)))


def _value(arg: object, recipient: Recipient) -> object:
    return arg(recipient) if isinstance(arg, Expression) else arg


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition on the recipient. `constant` is None for "is it filled"; else "does it equal this"."""

    expression: Expression
    constant: str | None

    def __call__(self, recipient: Recipient) -> bool:
        value = self.expression(recipient)
        return bool(value) if self.constant is None else value == self.constant


@dataclass
class Trace:
    """What one rendering found out. `mark` starts every sentinel and must not occur in the content."""

    recipient: Recipient
    mark: str
    outputs: list[tuple[Expression, Place]] = field(default_factory=list)
    guards: dict[Guard, bool] = field(default_factory=dict)
    places: dict[Guard, Place] = field(default_factory=dict)

    def output(self, expression: Expression) -> str:
        self.outputs.append((expression, here()))
        return f"{self.mark}{len(self.outputs) - 1:06d}Z"

    def decide(self, guard: Guard) -> bool:
        if guard not in self.guards:
            self.guards[guard] = guard(self.recipient)
            self.places[guard] = here()
        return self.guards[guard]


_ADVICE = (
    "only its output, a condition (filled or not, equal to a text or not) and the filters "
    "capitalize, default, escape, lower, title, trim, truncate, upper, urlencode are possible"
)


def _refused(operation: str) -> Callable[..., NoReturn]:
    def refuse(self: Hole, *args: object, **kwargs: object) -> NoReturn:
        raise here().fault(f"{self.expression}: {operation} cannot be done with a recipient's field; {_ADVICE}")

    return refuse


class Hole:
    """A recipient's field that is not known yet."""

    __slots__ = ("expression", "trace")

    def __init__(self, trace: Trace, expression: Expression) -> None:
        self.trace = trace
        self.expression = expression

    def sentinel(self) -> str:
        return self.trace.output(self.expression)

    def filtered(self, applied: Applied) -> Hole:
        return Hole(self.trace, Expression(self.expression.field, (*self.expression.filters, applied)))

    def __bool__(self) -> bool:
        return self.trace.decide(Guard(self.expression, None))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Hole):
            raise here().fault(f"{self.expression} == {other.expression}: compare a recipient's field with a text only")
        return isinstance(other, str) and self.trace.decide(Guard(self.expression, str(other)))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __getattr__(self, name: str) -> NoReturn:
        # Jinja and markupsafe look whether an object can speak HTML; a hole never does.
        if name.startswith("__"):
            raise AttributeError(name)
        raise here().fault(f"{self.expression}.{name}: a recipient's field has no such part; {_ADVICE}")

    __hash__ = _refused("looking it up")
    __str__ = __repr__ = __format__ = _refused("joining it into a text")
    __html__ = _refused("marking it as HTML")
    __iter__ = __reversed__ = _refused("iterating")
    __len__ = _refused("measuring its length")
    __getitem__ = __contains__ = _refused("looking into it")
    __call__ = _refused("calling it")
    __int__ = __float__ = __index__ = __bytes__ = _refused("converting it")
    __lt__ = __le__ = __gt__ = __ge__ = _refused("ordering")
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __rmod__ = _refused("arithmetic")
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __pow__ = __rpow__ = _refused("arithmetic")
    __neg__ = __pos__ = __abs__ = __round__ = _refused("arithmetic")


class TracedRecipient:
    """What a template sees as `recipient` while it is compiled."""

    __slots__ = ("_trace",)

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __getattr__(self, name: str) -> Hole:
        if name in FIELDS:
            return Hole(self._trace, Expression(name))
        if name.startswith("__"):
            raise AttributeError(name)
        raise here().fault(f"recipient has no field {name!r}; it has {', '.join(FIELDS)}")


def finalize(value: object) -> object:
    """Jinja's last step before output: a hole becomes its sentinel, all else stays."""
    if isinstance(value, Hole):
        return value.sentinel()
    if isinstance(value, TracedRecipient):
        raise here().fault(f"recipient itself is no text; it has {', '.join(FIELDS)}")
    return value


def check_argument(value: object, mark: str) -> object:
    """An argument of a filter on a hole: a plain constant, or another hole's expression."""
    if isinstance(value, Hole):
        return value.expression
    if isinstance(value, Markup) or (isinstance(value, str) and mark in value):
        raise here().fault("a filter on a recipient's field takes plain texts only, no captured block and no HTML")
    if isinstance(value, str | int | float | bool | None):
        return value
    raise here().fault(f"a filter on a recipient's field takes plain texts and numbers, not {type(value).__name__}")


def applied(
    hole: Hole, name: str, function: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> Hole:  # fmt: skip
    """The hole with one more filter on it."""
    mark = hole.trace.mark
    if hole.expression.last == "escape":
        raise here().fault(f"{hole.expression}|{name}: escape must be the last filter")
    checked = tuple(check_argument(one, mark) for one in args)
    named = tuple((key, check_argument(one, mark)) for key, one in kwargs.items())
    return hole.filtered(Applied(name, function, checked, named))
