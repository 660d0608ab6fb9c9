"""A publication's colour, made readable wherever it is put (WCAG 2.2, 1.4.3: a contrast of 4.5 at least)."""

from __future__ import annotations

_LEAST_CONTRAST = 4.5
_STEPS = 20
_LINEAR_BELOW = 0.04045

Rgb = tuple[int, int, int]
_WHITE: Rgb = (255, 255, 255)
_BLACK: Rgb = (0, 0, 0)


def ink_on(color: str) -> str:
    """White or black, whichever reads better on it. `color` is `#rrggbb`."""
    rgb = _parse(color)
    return "#ffffff" if contrast(_WHITE, rgb) >= contrast(_BLACK, rgb) else "#000000"


def readable_on(color: str, ground: str) -> str:
    """The colour itself, or as little lightened or darkened as makes text of it readable on the ground."""
    rgb, behind = _parse(color), _parse(ground)
    towards = _WHITE if contrast(_WHITE, behind) > contrast(_BLACK, behind) else _BLACK
    for step in range(_STEPS + 1):
        mixed = _mix(rgb, towards, step / _STEPS)
        if contrast(mixed, behind) >= _LEAST_CONTRAST:
            return "#{:02x}{:02x}{:02x}".format(*mixed)
    return "#{:02x}{:02x}{:02x}".format(*towards)


def contrast(one: Rgb, other: Rgb) -> float:
    """1 (the same) to 21 (black on white)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(rgb: Rgb) -> float:
    red, green, blue = (_linear(part / 255) for part in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= _LINEAR_BELOW else float(((part + 0.055) / 1.055) ** 2.4)


def _mix(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _parse(color: str) -> Rgb:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
