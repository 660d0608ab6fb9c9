"""What rendering refuses, beside `TemplateFault`."""

from __future__ import annotations

from worker.domain.errors import PermanentError


class ContentTooLarge(PermanentError):
    """The HTML is larger than Gmail shows before it clips (about 102 KB). The message says what to cut."""


class Unaddressable(PermanentError):
    """An address that no header line can hold (RFC 5322 §2.1.1: 998 characters)."""
