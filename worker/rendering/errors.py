"""What rendering refuses, beside `TemplateFault`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from worker.domain.errors import PermanentError, PressrunError

log = structlog.get_logger(__name__)


class ContentTooLarge(PermanentError):
    """The HTML is larger than Gmail shows before it clips (about 102 KB). The message says what to cut."""


class Unaddressable(PermanentError):
    """An address that no header line can hold (RFC 5322 §2.1.1: 998 characters)."""


class Unmakeable(PermanentError):
    """Making the mail broke in a way that nobody foresaw; the traceback is in the log."""


@contextmanager
def unmakeable_otherwise() -> Iterator[None]:
    """What breaks in making a mail, and is no error of Pressrun's own, is raised as `Unmakeable`.

    A mail is made of the same things each time, so it would break again at each sweep, for ever, and with it the
    mails that were claimed beside it.
    """
    try:
        yield
    except PressrunError:
        raise
    except Exception as error:
        log.exception("compiling_broke")
        raise Unmakeable(f"a fault of ours: making the mail broke ({error!r}); its traceback is in the log") from error
