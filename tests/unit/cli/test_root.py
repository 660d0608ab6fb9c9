"""The command line as a whole: what it lists, and how errors end."""

from __future__ import annotations

from collections.abc import Callable

import click
import pytest

from worker.cli import root
from worker.domain.errors import Conflict, NotFound


@pytest.mark.parametrize("name", list(root.COMMANDS))
def test_each_command_is_there_and_has_the_words_of_the_list(name: str) -> None:
    command = root.cli.get_command(click.Context(root.cli), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(limit=200) == root.COMMANDS[name][1]
    assert command.help


def test_the_list_imports_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert root.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in root.COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], "No such command 'nope'"),
        (["pause"], "give a campaign's number, or --all"),
        (["deliveries"], "give --campaign, --transactional or --status"),
        (["delivery", "x"], "'x' is not a valid integer"),
        (["emit", "/no/such/file"], "No such file or directory"),
        (["part", "nope"], "'nope' is not one of"),
    ],
)
def test_wrong_usage_is_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert root.run(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], list[str]]:
    """A command line whose command raises this."""

    def make(error: BaseException) -> list[str]:
        @click.command("status")
        def status() -> None:
            raise error

        monkeypatch.setattr(root.LazyGroup, "get_command", lambda *_: status)
        return ["status"]

    return make


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (NotFound("there is no campaign 7"), 1, "pressrun: there is no campaign 7\n"),
        (Conflict("campaign 7 is finished"), 1, "pressrun: campaign 7 is finished\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "pressrun: Permission denied: /x\n"),
        (NotFound("postgresql://me:pw@db/x is gone"), 1, "pressrun: postgresql://me:[hidden]@db/x is gone\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_is_one_line_and_a_code(
    error: BaseException, code: int, shown: str, capsys: pytest.CaptureFixture[str],
    failing: Callable[[BaseException], list[str]],
) -> None:  # fmt: skip
    assert root.run(failing(error)) == code
    assert capsys.readouterr().err.strip("\n") == shown.strip("\n")


def test_a_fault_of_ours_is_one_line_too(
    capsys: pytest.CaptureFixture[str], failing: Callable[[BaseException], list[str]]
) -> None:
    assert root.run(failing(ZeroDivisionError("division by zero"))) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("pressrun: unexpected ZeroDivisionError: division by zero")
    assert "Traceback" not in shown
