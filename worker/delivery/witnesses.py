"""What remembers the ledger's mark outside of the ledger: a file beside the journals, and Redis.

Either may be lost or new, and then knows nothing; it is never wrong by that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from redis import Redis
from redis.exceptions import RedisError

_KEY = "pressrun:ledger"


@dataclass(frozen=True, slots=True)
class Memory:
    """Which ledger was seen last, and how far it had come."""

    identity: str
    mark: int


class Witness(Protocol):
    """Neither method raises; `Unreachable` alone says that there may be a memory which cannot be asked now."""

    @property
    def name(self) -> str: ...

    def recall(self) -> Memory | None:
        """None where nothing is remembered. Raises `Unreachable`."""

    def remember(self, memory: Memory) -> None:
        """After the commit of the mark: what is remembered is never ahead of the ledger."""


class Unreachable(Exception):
    """Ask again later."""


class FileWitness:
    """A small file, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    def recall(self) -> Memory | None:
        try:
            return _read(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreachable from error

    def remember(self, memory: Memory) -> None:
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        # a full or read-only disk stops no mail: Redis still remembers
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(asdict(memory)), "utf-8")
            draft.replace(self._path)


class RedisWitness:
    """`connect` gives a client with socket timeouts; nothing is connected before the first use."""

    name = "Redis"

    def __init__(self, connect: Callable[[], Redis]) -> None:
        self._connect = connect

    def recall(self) -> Memory | None:
        try:
            found = self._connect().get(_KEY)
        except (RedisError, OSError) as error:
            raise Unreachable from error
        return None if found is None else _read(found if isinstance(found, str) else bytes(found).decode())

    def remember(self, memory: Memory) -> None:
        with suppress(RedisError, OSError):
            self._connect().set(_KEY, json.dumps(asdict(memory)))


def _read(said: str) -> Memory | None:
    """What is no memory of ours counts as none."""
    try:
        found = json.loads(said)
        return Memory(str(found["identity"]), int(found["mark"]))
    except (ValueError, KeyError, TypeError):
        return None
