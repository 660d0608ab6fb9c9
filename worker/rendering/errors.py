"""What rendering refuses, beside `TemplateFault`."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from billiard.exceptions import SoftTimeLimitExceeded

from worker.domain.errors import PermanentError, PressrunError

log = structlog.get_logger(__name__)

_PASSING_ERRNOS = frozenset({errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE})
_MOST_OF_AN_ERROR = 300


class ContentTooLarge(PermanentError):
    """The HTML is larger than Gmail shows before it clips (about 102 KB), or the text part than its own limit.

    The message says what to cut.
    """


class Unaddressable(PermanentError):
    """An address that no header line can hold (RFC 5322 §2.1.1: 998 characters)."""


class Unmakeable(PermanentError):
    """Making the mail broke in a way that nobody foresaw; the traceback is in the log."""


@contextmanager
def unmakeable_otherwise() -> Iterator[None]:
    """What breaks in making a mail, and is no error of Pressrun's own, is raised as `Unmakeable`.

    A mail is made of the same things each time, so it would break again at each sweep, for ever, and with it the
    mails that were claimed beside it. What may pass is left as it is: the sweep tries again.
    """
    try:
        yield
    except PressrunError:
        raise
    except Exception as error:
        if may_pass(error):
            raise
        log.exception("compiling_broke")
        what = repr(error)[:_MOST_OF_AN_ERROR]
        raise Unmakeable(f"a fault of ours: making the mail broke ({what}); its traceback is in the log") from error


def may_pass(error: Exception) -> bool:
    """Whether it says nothing about the mail: no memory, no file to be had, a task's time that ran out (a host that
    slept wakes in the middle of one).
    """
    if isinstance(error, OSError):
        return error.errno in _PASSING_ERRNOS
    return isinstance(error, MemoryError | SoftTimeLimitExceeded)
