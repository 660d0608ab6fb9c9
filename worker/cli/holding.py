"""What is held back after a restore, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def held_lines(held: Mapping[str, Any]) -> Iterator[str]:
    """`held` as `storage.held` gives it."""
    yield f"SENDING IS HELD since {held['since']}: {held['why']}"
    yield "Released, this would be sent:"
    for one in held["campaigns"]:
        yield f"  campaign {one['id']} ({one['publication']}, post {one['post']}): {one['n']:,}"
    for one in held["transactional"]:
        yield f"  {one['kind']} of {one['publication']}: {one['n']:,}"
    if not held["campaigns"] and not held["transactional"]:
        yield "  nothing that is queued now"
    yield "`pressrun cancel CAMPAIGN` takes one out, `pressrun db release --yes` lets the rest go."
