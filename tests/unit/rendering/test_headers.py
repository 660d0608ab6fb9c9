"""The header of each kind of mail, and single fields."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email import message_from_string, policy
from email.header import decode_header, make_header

import pytest

from tests.unit.rendering.making import IDENTITY, PUBLICATION, READER, TEMPLATES, compiled, parsed, shared_for
from worker.domain.delivery import Kind
from worker.domain.message import MessageIdentity
from worker.domain.publication import Sender
from worker.rendering import MailCompiler, Unaddressable, needs_smtputf8
from worker.rendering.headers import address, mailbox, phrase, unstructured

LISTED = [Kind.NEW_POST, Kind.WELCOME, Kind.TEST]
ASKED_FOR = [Kind.CONFIRMATION, Kind.ALREADY_SUBSCRIBED]


def head_of(kind: Kind) -> str:
    data = compiled(kind).personalise(READER, IDENTITY)
    return data.partition(b"\r\n\r\n")[0].decode()


@pytest.mark.parametrize("kind", list(Kind))
def test_every_mail_has_what_rfc_5322_asks_for_once(kind: Kind) -> None:
    message = parsed(compiled(kind).personalise(READER, IDENTITY))
    assert message["From"] == "The Daily <news@blog.example>"
    assert message["To"] == "Ada Lovelace <ada@example.org>"
    assert message["Reply-To"] == "editors@blog.example"
    assert message["Date"] == "Sun, 09 Feb 2025 14:05:00 +0000"
    assert message["Message-ID"] == "<42.abcdefgh@blog.example>"
    assert message["MIME-Version"] == "1.0"
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert all(part["Content-Transfer-Encoding"] == "quoted-printable" for part in message.iter_parts())
    assert message["Precedence"] is None
    assert not message.defects


@pytest.mark.parametrize("kind", LISTED)
def test_list_mail_can_be_left_with_one_click(kind: Kind) -> None:
    lines = head_of(kind).split("\r\n")
    assert f"List-Unsubscribe: <{READER.unsubscribe_url}>" in lines, "one line, as it is"
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in lines
    message = parsed(compiled(kind).personalise(READER, IDENTITY))
    assert message["List-Id"] == "New posts <posts.daily.blog.example>"
    assert message["Auto-Submitted"] is None


@pytest.mark.parametrize("kind", ASKED_FOR)
def test_mail_that_a_form_asked_for_says_a_machine_sent_it(kind: Kind) -> None:
    message = parsed(compiled(kind).personalise(READER, IDENTITY))
    assert message["Auto-Submitted"] == "auto-generated"
    assert not [name for name in message if name.startswith("List-")]


def test_a_long_unsubscribe_link_is_neither_folded_nor_encoded() -> None:
    link = "https://mail.blog.example/unsubscribe/" + "x" * 700
    data = compiled(Kind.NEW_POST).personalise(READER._replace(unsubscribe_url=link), IDENTITY)
    assert f"\r\nList-Unsubscribe: <{link}>\r\n".encode() in data


def test_without_a_link_there_is_no_one_click_header() -> None:
    data = compiled(Kind.NEW_POST).personalise(READER._replace(unsubscribe_url=""), IDENTITY)
    assert b"List-Unsubscribe" not in data


def test_a_test_mail_says_so_in_its_subject() -> None:
    assert compiled(Kind.TEST).content(READER).subject.startswith("[Test] Japan’s Ishiba")


def test_the_same_delivery_gives_the_same_bytes() -> None:
    mail = compiled(Kind.NEW_POST)
    again = MailCompiler(TEMPLATES).compile(PUBLICATION, Kind.NEW_POST, shared_for(Kind.NEW_POST))
    assert mail.personalise(READER, IDENTITY) == again.personalise(READER, IDENTITY)


def test_a_date_of_another_zone_is_the_same_moment() -> None:
    berlin = datetime(2025, 2, 9, 15, 5, tzinfo=timezone(timedelta(hours=1)))
    message = parsed(compiled(Kind.NEW_POST).personalise(READER, MessageIdentity("<1@blog.example>", berlin)))
    assert message["Date"].datetime == berlin


@pytest.mark.parametrize(
    ("name", "email", "written"),
    [
        ("", "ada@example.org", "ada@example.org"),
        ("Ada Lovelace", "ada@example.org", "Ada Lovelace <ada@example.org>"),
        ("Lovelace, Ada", "ada@example.org", '"Lovelace, Ada" <ada@example.org>'),
        ('A "B" \\ C', "ada@example.org", '"A \\"B\\" \\\\ C" <ada@example.org>'),
        ("Adélie", "ada@example.org", "=?utf-8?q?Ad=C3=A9lie?= <ada@example.org>"),
        ("=?utf-8?q?x?=", "ada@example.org", "=?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3F=3D?= <ada@example.org>"),
        ("", "a b@example.org", '"a b"@example.org'),
        ("", 'a"b@example.org', '"a\\"b"@example.org'),
        ("", "a..b@example.org", '"a..b"@example.org'),
        ("", "ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("", "ada@[192.0.2.1]", "ada@[192.0.2.1]"),
        ("", "ada@a>,b@c.example", '"ada@a>,b"@c.example'),
        ("", "jürgen@example.org", "jürgen@example.org"),
        ("", "ada@evil>.example", "ada@evil.example"),
    ],
)
def test_mailboxes(name: str, email: str, written: str) -> None:
    assert mailbox(name, email, 4) == written


def test_a_name_of_any_length_folds() -> None:
    for name in ("é" * 400, "word " * 100, "x" * 2000):
        text = f"To: {mailbox(name.strip(), 'ada@example.org', 4)}"
        assert all(len(line) <= 78 for line in text.split("\r\n"))
        # not by EmailPolicy, which in Python 3.11 puts spaces between the words of a phrase (RFC 2047 §6.2 says none)
        decoded = str(make_header(decode_header(text.replace("\r\n", ""))))
        assert decoded == f"To: {name.strip()} <ada@example.org>"


def test_an_address_that_no_server_takes_is_refused_by_name() -> None:
    with pytest.raises(Unaddressable, match=r"recipient\.email: 412 characters"):
        address("a" * 400 + "@example.org")


@pytest.mark.parametrize("text", ["Short", "A subject " * 30, "x" * 300, "é" * 200, "a =?b?= c", "日本語の件名" * 20])
def test_a_subject_comes_back(text: str) -> None:
    text = " ".join(text.split())
    line = f"Subject: {unstructured(text, 9)}"
    assert all(len(one) <= 78 or (one.isascii() and len(one) < 998) for one in line.split("\r\n"))
    assert message_from_string(line + "\r\n\r\n", policy=policy.default)["Subject"] == text


def test_a_phrase_starts_where_it_is_told() -> None:
    first = phrase("é" * 60, 40).split("\r\n")[0]
    assert 40 + len(first) <= 76


@pytest.mark.parametrize(
    ("email", "needs"),
    [("ada@example.org", False), ("ada@bücher.example", False), ("jürgen@example.org", True), ("用户@例子.广告", True)],
)
def test_only_a_local_part_outside_ascii_needs_smtputf8(email: str, needs: bool) -> None:
    assert needs_smtputf8(email) is needs


def test_a_local_part_outside_ascii_makes_the_only_bytes_above_127() -> None:
    data = compiled(Kind.NEW_POST).personalise(READER._replace(email="jürgen@example.org", name="Jürgen"), IDENTITY)
    assert [line for line in data.split(b"\r\n") if not line.isascii()] == [
        "To: =?utf-8?q?J=C3=BCrgen?= <jürgen@example.org>".encode()
    ]


def test_a_senders_name_outside_ascii_is_encoded() -> None:
    publication = replace(PUBLICATION, sender=Sender("Gazette d’Évian", "news@évian.example"))
    mail = MailCompiler(TEMPLATES).compile(publication, Kind.CONFIRMATION, shared_for(Kind.CONFIRMATION))
    data = mail.personalise(READER, IDENTITY)
    assert data.isascii()
    (sender,) = parsed(data)["From"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Gazette d’Évian", "news@xn--vian-9oa.example")
