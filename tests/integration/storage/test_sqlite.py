"""What SQLite must be able to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from worker.domain.errors import ConfigurationError
from worker.storage.database import Database


def test_a_library_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python takes the system's: Debian 11 has 3.34, and its JSON functions may be missing."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.37.2")
    with pytest.raises(ConfigurationError, match=r"SQLite 3\.37\.2 is too old; allowed: 3\.38 and newer"):
        Database(f"sqlite:///{tmp_path / 'p.db'}")
