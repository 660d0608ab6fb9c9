"""Makes `docs/configuration.md` and `config/pressrun.toml` from the settings, so that neither can drift.

`python -m worker.cli.configdoc` writes both (`make docs`); a test holds them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from worker.settings import PREFIX, Settings

_SECTIONS = {
    "environment": "Where things are",
    "api_host": "The HTTP face and the ports",
    "bulk_processes": "Sending",
    "campaigns_per_hour": "Campaigns and audience",
    "sweep_seconds": "Housekeeping",
}
# It follows PRESSRUN_CONFIG and has no key of its own.
_DERIVED = "config_dir"
# Secrets belong into the environment: a file ends in a repository.
_ONLY_ENVIRONMENT = ("secret_key", "old_secret_keys", "flower_password")
_HEADER = ("| setting | default | allowed | what it does |", "|---|---|---|---|")

_INTRO = """# Configuration

<!-- Made by `make docs` from worker/options.py. Do not edit. -->

A setting comes from the environment (`PRESSRUN_…`), else from the file `pressrun.toml`, else from its default. An
empty variable counts as unset. A wrong value stops the start with the key's name, what was found and what is allowed.

The file is `config/pressrun.toml` in the current folder, else the one that came with Pressrun; `PRESSRUN_CONFIG` names
another one. `shaping.toml` (limits by destination) and `publications/` are looked for beside it.
"""

_OUTRO = """
## Publications

Each publication is a file `publications/<slug>.toml`; the sample `config/publications/daily.toml` shows every key. Its
secrets come from the environment, with the slug in capitals and dashes as underscores. One that is unset keeps that
way in closed.

| variable | what it opens |
|---|---|
| `PRESSRUN_DAILY_TOKEN` | `Authorization: Bearer …` for the publication `daily`; several: separated by commas |
| `PRESSRUN_DAILY_SECRET` | signed webhooks (Standard Webhooks): `whsec_` and base64 of 24 to 64 bytes; several too |
| `PRESSRUN_DAILY_GHOST_SECRET` | Ghost's webhooks: the secret given to Ghost |

A bearer token may also stand in the file, as its SHA-256: `token_sha256 = ["…"]`.

## A new sending domain

`[warmup]` in a publication's file says that its sender's domain is new;
[operations](operations.md#a-new-domain-warm-up) says how it grows.

| key | what it is |
|---|---|
| `start` | the first day (UTC), such as `2025-03-01` |
| `schedule` | mails a day from then on, such as `[150, 250, 400]`; default: `PRESSRUN_WARMUP_SCHEDULE` |

It holds for all publications that send by the domain; two that say it must say the same.

## Limits by destination

`config/shaping.toml` lists the large mailbox providers with what they accept; each figure has its source beside it.
"""


def configuration_page() -> str:
    """The text of `docs/configuration.md`."""
    schema = Settings.model_json_schema()["properties"]
    lines = [_INTRO]
    for name, field in Settings.model_fields.items():
        if name in _SECTIONS:
            lines += [f"\n## {_SECTIONS[name]}\n", *_HEADER]
        if name != _DERIVED:
            cells = (f"`{PREFIX}{name.upper()}`", _shown(_default(name)), _allowed(schema[name]), field.description)
            lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n" + _OUTRO


def configuration_file() -> str:
    """The text of `config/pressrun.toml`: every key once, commented out, with its default."""
    lines = [
        "# Settings. What is commented out shows the default; the environment (PRESSRUN_…) wins over this file.",
        "# docs/configuration.md says what is allowed.",
    ]
    for name, field in Settings.model_fields.items():
        if name in _SECTIONS:
            lines += ["", f"# -- {_SECTIONS[name]}"]
        if name == _DERIVED:
            continue
        lines += ["", f"# {_plain(field.description)}"]
        if name in _ONLY_ENVIRONMENT:
            lines.append(f"# (a secret: give it as {PREFIX}{name.upper()})")
        lines.append(f"#{name} = {_toml(_default(name))}")
    return "\n".join(lines) + "\n"


def write(root: Path) -> None:
    """Write both files of the repository at `root`."""
    (root / "docs" / "configuration.md").write_text(configuration_page(), "utf-8")
    (root / "config" / "pressrun.toml").write_text(configuration_file(), "utf-8")


def _default(name: str) -> Any:
    return Settings.model_fields[name].get_default(call_default_factory=True)


def _shown(value: Any) -> str:
    if value is None or value == "" or value == () or value == {}:
        return "unset"
    return f"`{_toml(value).strip(chr(34))}`"


def _toml(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, Mapping):
        return "{}"
    return json.dumps(value if isinstance(value, int | float | tuple) else str(value))


def _plain(text: str | None) -> str:
    return (text or "").replace("`", "")


def _allowed(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    numbers = [one for one in (schema, *schema.get("anyOf", ())) if one.get("type") in ("integer", "number")]
    if numbers:
        bounds = ", ".join(_bounds(numbers[0]))
        return ("a whole number" if numbers[0]["type"] == "integer" else "a number") + (f" {bounds}" if bounds else "")
    return {"boolean": "`true`, `false`", "array": "a list; separated by commas in the environment"}.get(
        schema.get("type", ""), "text"
    )


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    if "minimum" in schema and "maximum" in schema:
        yield f"from {schema['minimum']:g} to {schema['maximum']:g}"
    elif "minimum" in schema:
        yield f"from {schema['minimum']:g}"
    if "exclusiveMinimum" in schema:
        yield f"above {schema['exclusiveMinimum']:g}"
    if "exclusiveMaximum" in schema:
        yield f"below {schema['exclusiveMaximum']:g}"


if __name__ == "__main__":
    write(Path.cwd())
