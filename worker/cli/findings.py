"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `pressrun check`: what was looked at, and what was found or is to be done."""

    ok: bool
    what: str
    words: str
