"""A variable that nothing reads is a typing error, and its setting stays at the default without a word."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from worker.cli.supervisor import SUPERVISOR
from worker.options import Settings
from worker.publications import secret_names
from worker.settings import PREFIX

UNREAD = "nothing reads this variable; is it written as in docs/configuration.md?"


def unread(environ: Iterable[str], config_dir: Path) -> list[str]:
    """Those that begin like ours and are no setting's, and no secret's of a publication."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {PREFIX + "CONFIG", SUPERVISOR}
    for path in (config_dir / "publications").glob("*.toml"):
        known.update(secret_names(path.stem))
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
