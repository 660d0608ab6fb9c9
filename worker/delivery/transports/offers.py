"""What the next hop offers in its answer to EHLO."""

from __future__ import annotations

from dataclasses import dataclass

from worker.delivery.transports.reading import RawReply


@dataclass(frozen=True, slots=True)
class Offers:
    """RFC 2920, 6152, 1870, 6531, 3207, 4954. `size` is in bytes; None: not offered, 0: no fixed limit."""

    pipelining: bool = False
    eight_bit: bool = False
    size: int | None = None
    smtputf8: bool = False
    starttls: bool = False
    auth: frozenset[str] = frozenset()


def read_offers(lines: RawReply) -> Offers:
    """From the lines after the greeting; words are compared without case, `AUTH=` is the old spelling."""
    offered: dict[str, list[str]] = {}
    for line in lines[1:]:
        words = line[4:].decode("ascii", "replace").upper().replace("AUTH=", "AUTH ").split()
        if words:
            offered.setdefault(words[0], []).extend(words[1:])
    return Offers(
        pipelining="PIPELINING" in offered,
        eight_bit="8BITMIME" in offered,
        size=_size(offered.get("SIZE")),
        smtputf8="SMTPUTF8" in offered,
        starttls="STARTTLS" in offered,
        auth=frozenset(offered.get("AUTH", ())),
    )


def _size(words: list[str] | None) -> int | None:
    if words is None:
        return None
    return int(words[0]) if words and words[0].isascii() and words[0].isdigit() and len(words[0]) < 19 else 0
