"""Keeps the parts of `pressrun up` alive: starts them, tells when they are ready, starts again what dies.

One asyncio loop, one process a part, each a leader of its own session, so that Ctrl-C reaches us alone and
we stop the parts in an order that loses nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from worker.cli.lines import Lines
from worker.domain.errors import PressrunError

Say = Callable[[str, str], None]
"""`say(part, line)`"""

READY_SECONDS = 60.0
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0
# A part that ran for this long was well: its next death is met with the first backoff again.
WELL_AFTER = 60.0
# One that dies so often before it was ever ready will not get better by itself.
DEATHS_BEFORE_READY = 3
LAST_WORDS_SECONDS = 1.0
SUPERVISOR = "PRESSRUN_SUPERVISOR"
"""In a part's environment: our process id. The part dies with it."""


class StartFailed(PressrunError):
    """`part` could not be brought up."""

    def __init__(self, part: str, words: str) -> None:
        self.part = part
        super().__init__(f"{part} {words}")


@dataclass(frozen=True, slots=True)
class Part:
    """One process to keep. It is ready when `probe` says so, or when a line of its output holds `ready_word`."""

    name: str
    probe: Callable[[], bool] | None = None
    ready_word: str = ""
    stop_seconds: float = 5.0
    """What it gets between SIGTERM and SIGKILL."""


@dataclass
class _Kept:
    part: Part
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None


class Supervisor:
    """Starts and keeps parts. `environ` is theirs; what they print goes to `say`, line by line."""

    def __init__(
        self, environ: Mapping[str, str], say: Say, command: Callable[[Sequence[str]], list[str]] | None = None
    ) -> None:
        self._environ = {**environ, SUPERVISOR: str(os.getpid())}
        # Only our own Python may answer to its bare name: see `own_command`.
        self._environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ.get('PATH', os.defpath)}"
        self._say = say
        self._command = command or own_command
        self._kept: dict[str, _Kept] = {}
        self._pipes: list[tuple[asyncio.ReadTransport, Lines]] = []
        self._stopping = False
        self._failed: asyncio.Future[None] | None = None

    async def start(self, parts: Sequence[Part]) -> None:
        """Start these together and wait until all are ready. Raises `StartFailed`."""
        self._failed = self._failed or asyncio.get_running_loop().create_future()
        for part in parts:
            kept = self._kept[part.name] = _Kept(part)
            kept.keeper = asyncio.create_task(self._keep_or_give_up(kept))
        await asyncio.gather(*(self._until_ready(self._kept[part.name]) for part in parts))

    async def run_once(self, name: str, arguments: Sequence[str]) -> int:
        """Run `pressrun <arguments>` to its end, its output under `name`; the exit code."""
        process = await self._spawn(name, arguments, lambda line: self._say(name, line))
        return await process.wait()

    async def failed(self) -> None:
        """Returns never; raises `StartFailed` once a part is given up."""
        assert self._failed is not None, "start() comes first"
        await asyncio.shield(self._failed)

    async def stop(self, groups: Sequence[Sequence[str]]) -> None:
        """SIGTERM to each group in turn, and SIGKILL where one outstays its time."""
        self._stopping = True
        for group in groups:
            await asyncio.gather(*(self._stop(self._kept[name]) for name in group if name in self._kept))
        await self._close_pipes()

    def kill(self) -> None:
        """End everything at once."""
        self._stopping = True
        for kept in self._kept.values():
            _signal(kept, signal.SIGKILL)

    def pid(self, name: str) -> int | None:
        """The part's process id while it runs."""
        process = self._kept[name].process
        return process.pid if process is not None and process.returncode is None else None

    async def _keep_or_give_up(self, kept: _Kept) -> None:
        try:
            await self._keep(kept)
        except OSError as error:  # no more processes or files on this machine
            self._give_up(StartFailed(kept.part.name, f"could not be started: {error.strerror}"))

    async def _keep(self, kept: _Kept) -> None:
        loop, part = asyncio.get_running_loop(), kept.part
        backoff, deaths = FIRST_BACKOFF, 0
        while not self._is_stopping():
            began = loop.time()
            kept.process = await self._spawn(part.name, ("part", part.name), lambda line: self._heard(kept, line))
            status = await kept.process.wait()
            if self._is_stopping():
                return
            deaths += 1
            if not kept.ready.is_set() and deaths >= DEATHS_BEFORE_READY:
                self._give_up(StartFailed(part.name, f"{describe(status)} {deaths} times; its last lines say why"))
                return
            backoff = FIRST_BACKOFF if loop.time() - began > WELL_AFTER else backoff
            self._say(part.name, f"{part.name} {describe(status)}, started again in {backoff:g} s")
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF)

    def _is_stopping(self) -> bool:
        return self._stopping

    def _give_up(self, error: StartFailed) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)
            self._failed.exception()  # seen: asyncio complains about one that nobody was waiting for

    async def _spawn(
        self, name: str, arguments: Sequence[str], heard: Callable[[str], None]
    ) -> asyncio.subprocess.Process:
        # A pipe of our own: asyncio's would hold `wait()` back while a dead part's children keep it open.
        reading, writing = os.pipe()
        try:
            pipe = await asyncio.get_running_loop().connect_read_pipe(lambda: Lines(heard), os.fdopen(reading, "rb", 0))
            self._pipes = [*(one for one in self._pipes if not one[1].ended.is_set()), pipe]
            program, *rest = self._command(arguments)
            return await asyncio.create_subprocess_exec(
                program, *rest, executable=sys.executable, env=self._environ, start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL, stdout=writing, stderr=writing,
            )  # fmt: skip
        finally:
            os.close(writing)

    async def _close_pipes(self) -> None:
        """Hear the last words; a child of a killed part may hold its pipe open for longer than we wait."""
        last_words = [asyncio.ensure_future(lines.ended.wait()) for _, lines in self._pipes]
        if last_words:
            _, silent = await asyncio.wait(last_words, timeout=LAST_WORDS_SECONDS)
            for waiting in silent:
                waiting.cancel()
        for pipe, lines in self._pipes:
            pipe.close()
            await lines.ended.wait()

    def _heard(self, kept: _Kept, line: str) -> None:
        if kept.part.ready_word and kept.part.ready_word in line:
            kept.ready.set()
        self._say(kept.part.name, line)

    async def _until_ready(self, kept: _Kept) -> None:
        watch = asyncio.ensure_future(self._probe(kept) if kept.part.probe else kept.ready.wait())
        failed = asyncio.ensure_future(self.failed())
        try:
            done, _ = await asyncio.wait({watch, failed}, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if failed in done:
                failed.result()
            if watch not in done:
                raise StartFailed(kept.part.name, f"was not ready after {READY_SECONDS:.0f} s")
        finally:
            watch.cancel()
            failed.cancel()

    async def _probe(self, kept: _Kept) -> None:
        assert kept.part.probe is not None
        while not kept.ready.is_set():
            if await asyncio.to_thread(kept.part.probe):
                kept.ready.set()
            else:
                await asyncio.sleep(0.05)

    async def _stop(self, kept: _Kept) -> None:
        if kept.keeper is None:
            return
        _signal(kept, signal.SIGTERM)
        if kept.process is None or kept.process.returncode is not None:
            kept.keeper.cancel()  # it waits for its backoff
        done, _ = await asyncio.wait({kept.keeper}, timeout=kept.part.stop_seconds)
        if not done:
            self._say(kept.part.name, f"did not stop within {kept.part.stop_seconds:g} s, killed")
            _signal(kept, signal.SIGKILL)
            await asyncio.wait({kept.keeper})


def own_command(arguments: Sequence[str]) -> list[str]:
    """Our Python and the arguments, without any path.

    The part's name must stand in no other part's command line: `pkill -f bulk` is how people stop one, and a
    folder may be called anything. `-P` keeps the current folder out of the import path.
    """
    return [Path(sys.executable).name, "-P", "-m", "worker.cli", *arguments]


def describe(status: int) -> str:
    """How a process ended: `died (signal 9)` or `ended (exit code 1)`."""
    return f"died (signal {-status})" if status < 0 else f"ended (exit code {status})"


def _signal(kept: _Kept, number: signal.Signals) -> None:
    process = kept.process
    if process is None:
        return
    try:
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)  # the children of its pool as well
        elif process.returncode is None:
            process.send_signal(number)
    except ProcessLookupError:
        pass
