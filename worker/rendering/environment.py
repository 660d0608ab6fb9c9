"""Jinja for mails: strict, HTML escaped, and with filters and tests that know holes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import jinja2
from jinja2.filters import do_truncate

from worker.domain.errors import TemplateFault
from worker.rendering.errors import may_pass
from worker.rendering.holes import Hole, Place, applied, finalize, here

# The filters a hole may carry, each under its one name.
LISTED = {
    "capitalize": "capitalize", "d": "default", "default": "default", "e": "escape", "escape": "escape",
    "lower": "lower", "title": "title", "trim": "trim", "truncate": "truncate", "upper": "upper",
    "urlencode": "urlencode",
}  # fmt: skip
# Tests whose answer is the same for every hole, or a guard.
_TESTS_FOR_HOLES = frozenset({"defined", "undefined", "none", "eq", "==", "equalto", "ne", "!=", "in"})


def _filter(environment: jinja2.Environment, name: str, function: Callable[..., object]) -> Callable[..., object]:
    # Some of Jinja's filters want the environment or the context before the value.
    skip = 1 if getattr(function, "jinja_pass_arg", None) is not None else 0

    @wraps(function)
    def on_value(*args: object, **kwargs: object) -> object:
        value = args[skip] if len(args) > skip else None
        if not isinstance(value, Hole):
            return function(*args, **kwargs)
        if name not in LISTED:
            raise here().fault(f"{value.expression}|{name}: a recipient's field takes these filters only: {_listed()}")
        return applied(value, LISTED[name], _plain(environment, name, function), args[skip + 1 :], kwargs)

    return on_value


def _plain(environment: jinja2.Environment, name: str, function: Callable[..., object]) -> Callable[..., object]:
    if LISTED[name] != "truncate":
        return function
    return lambda value, *args, **kwargs: do_truncate(environment, value, *args, **kwargs)


def _listed() -> str:
    return ", ".join(sorted(set(LISTED.values())))


def _test(name: str, function: Any) -> Any:
    if name in _TESTS_FOR_HOLES or hasattr(function, "jinja_pass_arg"):
        return function

    @wraps(function)
    def on_value(value: object, *args: object) -> object:
        if isinstance(value, Hole):
            raise here().fault(f"{value.expression} is {name}: ask whether a recipient's field is filled, or == or !=")
        return function(value, *args)

    return on_value


def make_environment(templates: Path, override: Path | None) -> jinja2.Environment:
    """The environment of one publication.

    A file in `override` takes the place of the one with the same path in `templates`; under `default/` the
    replaced file stays within reach, so that an override can extend what it overrides.
    """
    shipped = jinja2.FileSystemLoader(templates)
    loaders = [shipped, jinja2.PrefixLoader({"default": shipped})]
    if override is not None:
        loaders.insert(0, jinja2.FileSystemLoader(override))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=jinja2.select_autoescape(("html",), default=False, default_for_string=False),
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # a mail keeps the templates it was compiled from; see `is_fresh`
    )
    for name, function in list(environment.filters.items()):
        environment.filters[name] = _filter(environment, name, function)
    for name, test in list(environment.tests.items()):
        environment.tests[name] = _test(name, test)
    return environment


def is_fresh(environment: jinja2.Environment) -> bool:
    """Whether every template it has read is still what is on disk."""
    return environment.cache is not None and all(one.is_up_to_date for one in environment.cache.values())


def render(environment: jinja2.Environment, name: str, context: dict[str, object]) -> str:
    """Raises `TemplateFault` for whatever is wrong with the template, with its file and line."""
    try:
        return environment.get_template(name).render(context)
    except TemplateFault:
        raise
    except jinja2.TemplateSyntaxError as error:
        raise TemplateFault(error.filename or error.name or name, error.lineno, error.message or "") from None
    except jinja2.TemplateNotFound as error:
        raise TemplateFault(str(error.name or name), None, "there is no such template") from None
    except jinja2.UndefinedError as error:
        raise _place(error, name).fault(str(error)) from None
    except Exception as error:  # whatever a template's expression raises is the template's fault
        if may_pass(error):
            raise
        raise _place(error, name).fault(f"{type(error).__name__}: {error}") from error


def _place(error: BaseException, name: str) -> Place:
    """Jinja rewrites the traceback of a running template: its frames carry the template's file and line."""
    found = Place(name, None)
    trace = error.__traceback__
    while trace is not None:
        if "__jinja_exception__" in trace.tb_frame.f_globals:
            found = Place(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return found
