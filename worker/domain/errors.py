"""One error tree. Its two roots decide retrying; what a user reads names the field and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class PressrunError(Exception):
    """Anything Pressrun raises on purpose."""


class TemporaryError(PressrunError):
    """The same call may succeed later."""


class PermanentError(PressrunError):
    """The same call will fail again."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field, and the fix. `field` is a dotted path such as `data.post.title`."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class InvalidInput(PermanentError):
    """Input that was refused whole; nothing was changed. `problems` is never empty."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))

    @classmethod
    def of(cls, field: str, message: str) -> InvalidInput:
        return cls([FieldProblem(field, message)])


class ConfigurationError(PermanentError):
    """A setting is wrong. The message names the key, what was found and what is allowed."""


class NotFound(PermanentError):
    """The thing asked for does not exist."""


class Conflict(PermanentError):
    """The request contradicts what is on record (the same event id with another body, say)."""


class IllegalMove(PermanentError):
    """A status change that the transition table does not allow."""


class TemplateFault(PermanentError):
    """A template that cannot be compiled. The message starts with `file:line:`."""

    def __init__(self, file: str, line: int | None, message: str) -> None:
        self.file = file
        self.line = line
        place = file if line is None else f"{file}:{line}"
        super().__init__(f"{place}: {message}")
