"""Where the files that travel with the package are: beside it in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _root() -> Path:
    packed = _PACKAGE / "_data"
    return packed if packed.is_dir() else _PACKAGE.parent


def templates_dir() -> Path:
    """The folder that holds `email/` and `web/`."""
    return _root() / "templates"


def config_dir() -> Path:
    """The shipped configuration: `pressrun.toml`, `shaping.toml`, `publications/`."""
    return _root() / "config"
