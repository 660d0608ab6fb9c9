"""The scriptable SMTP server itself: what other tests count on must be so."""

from __future__ import annotations

import json
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.smtpd import Options, Rule, SmtpServer, read_log

MESSAGE = b"From: a@d.example\r\nMessage-ID: <1.x@d.example>\r\n\r\n.hello\r\n"


@contextmanager
def client(server: SmtpServer) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP("127.0.0.1", server.port, "client.example", timeout=10) as one:
        yield one


def test_another_client_agrees_with_it() -> None:
    with SmtpServer() as server:
        with client(server) as one:
            one.sendmail("b@d.example", "r@e.example", MESSAGE)
        received = server.messages[0]
    assert (received.mail_from, received.rcpt, received.data) == ("b@d.example", "r@e.example", MESSAGE)
    assert received.message_id == "<1.x@d.example>"
    assert server.commands == [
        ["ehlo client.example", f"mail FROM:<b@d.example> size={len(MESSAGE)}", "rcpt TO:<r@e.example>", "data", "QUIT"]
    ]
    assert server.interrupted == []


def test_rules_count_messages_and_times() -> None:
    rules = [
        Rule("rcpt", reply="451 4.2.0 later", nth=2), Rule("dot", reply="554 5.6.0 no", rcpt="x@e.example", times=1)
    ]
    with SmtpServer(rules) as server, client(server) as one:
        one.sendmail("b@d.example", "r1@e.example", MESSAGE)
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            one.sendmail("b@d.example", "r2@e.example", MESSAGE)
        one.sendmail("b@d.example", "r2@e.example", MESSAGE)
        with pytest.raises(smtplib.SMTPDataError):
            one.sendmail("b@d.example", "x@e.example", MESSAGE)
        one.sendmail("b@d.example", "x@e.example", MESSAGE)
        assert [message.rcpt for message in server.messages] == ["r1@e.example", "r2@e.example", "x@e.example"]


def test_a_conversation_is_open_from_mail_to_its_answer() -> None:
    with SmtpServer() as server, client(server) as one:
        one.ehlo()
        assert server.open_conversations == 0
        one.mail("b@d.example")
        assert server.open_conversations == 1
        one.rcpt("r@e.example")
        one.data(MESSAGE)
        assert server.open_conversations == 0
        one.mail("b@d.example")
        one.rset()
        assert server.open_conversations == 0
        assert server.most_open == 1


def test_a_client_that_goes_away_is_recorded_with_what_it_may_not_know() -> None:
    with SmtpServer() as server:
        one = smtplib.SMTP("127.0.0.1", server.port, "client.example", timeout=10)
        one.sendmail("b@d.example", "r1@e.example", MESSAGE)
        one.close()
        server.wait_for(lambda it: len(it.interrupted) == 1)
        two = smtplib.SMTP("127.0.0.1", server.port, "client.example", timeout=10)
        two.ehlo()
        two.mail("b@d.example")
        two.rcpt("r2@e.example")
        two.close()
        server.wait_for(lambda it: len(it.interrupted) == 2)
        found = [(one.rcpt, one.replied, one.accepted) for one in server.interrupted]
    assert found == [("r1@e.example", True, True), ("r2@e.example", False, False)]


@pytest.mark.parametrize("accept", [True, False])
def test_a_message_cut_behind_its_dot_is_kept_only_where_told(accept: bool) -> None:
    with SmtpServer([Rule("dot", cut=True, accept=accept)]) as server:
        with client(server) as one, pytest.raises(smtplib.SMTPServerDisconnected):
            one.sendmail("b@d.example", "r@e.example", MESSAGE)
        server.wait_for(lambda it: len(it.interrupted) == 1)
        assert len(server.messages) == accept
        assert server.interrupted[0].accepted == accept


def test_a_rule_may_come_later() -> None:
    with SmtpServer() as server, client(server) as one:
        one.sendmail("b@d.example", "r@e.example", MESSAGE)
        server.add(Rule("mail", reply="451 4.3.0 later"))
        with pytest.raises(smtplib.SMTPSenderRefused):
            one.sendmail("b@d.example", "r@e.example", MESSAGE)


def test_bodies_need_not_be_kept() -> None:
    with SmtpServer(options=Options(keep_bodies=False)) as server, client(server) as one:
        one.sendmail("b@d.example", "r@e.example", MESSAGE)
        assert (server.messages[0].data, server.messages[0].size) == (b"", len(MESSAGE))
        assert server.message_ids() == ["<1.x@d.example>"]


def test_as_a_process_it_outlives_its_clients_and_its_log_outlives_it(tmp_path: Path) -> None:
    log = tmp_path / "accepted.jsonl"
    script = json.dumps([{"at": "rcpt", "reply": "550 5.1.1 no", "rcpt": "x@e.example"}])
    command = [sys.executable, "-m", "tests.smtpd", "--port", "0", "--log", str(log), "--script", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        one = smtplib.SMTP("127.0.0.1", port, "client.example", timeout=10)
        one.sendmail("b@d.example", "r@e.example", MESSAGE)
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            one.sendmail("b@d.example", "x@e.example", MESSAGE)
        one.close()
        process.kill()
    records = [(one["event"], one["rcpt"], one.get("message_id")) for one in read_log(log)]
    assert records[0] == ("accepted", "r@e.example", "<1.x@d.example>")


def test_as_a_process_it_stops_when_asked() -> None:
    with subprocess.Popen([sys.executable, "-m", "tests.smtpd"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on 127.0.0.1:")
        process.terminate()
        assert process.wait(10) == 0
