"""A publication's colour, in the three uses a mail has for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEX = re.compile(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")
_DEFAULT = "1a56db"
# Enough against the dark page (#16181b) to be read: WCAG 2.2 asks for 4.5:1.
_READABLE_IN_THE_DARK = 0.30


@dataclass(frozen=True, slots=True)
class Theme:
    color: str
    """As configured; what is not a hex colour is the default."""
    on_color: str
    """White while that has a contrast of 3:1 or more (WCAG 2.2 for bold labels), else near black."""
    dark_color: str
    """Lightened until it reads on a dark page."""


def theme_of(color: str) -> Theme:
    match = _HEX.fullmatch(color.strip())
    digits = match[1] if match else _DEFAULT
    if len(digits) == 3:
        digits = "".join(one * 2 for one in digits)
    red, green, blue = (int(digits[at : at + 2], 16) for at in (0, 2, 4))
    on_color = "#ffffff" if 1.05 / (_luminance(red, green, blue) + 0.05) >= 3 else "#111111"
    return Theme(_hex(red, green, blue), on_color, _lightened(red, green, blue))


def _lightened(red: int, green: int, blue: int) -> str:
    while _luminance(red, green, blue) < _READABLE_IN_THE_DARK:
        red, green, blue = (channel + (255 - channel) // 12 + 1 for channel in (red, green, blue))
    return _hex(red, green, blue)


def _hex(red: int, green: int, blue: int) -> str:
    return f"#{red:02x}{green:02x}{blue:02x}"


def _luminance(*channels: int) -> float:
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in channels)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
