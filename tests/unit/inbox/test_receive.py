"""The inbox over real sockets: what comes in is kept once, whole, and shown safely."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from threading import Thread

import httpx
import pytest

from worker.domain.clock import FakeClock
from worker.domain.errors import ConfigurationError
from worker.inbox.pages import create_pages
from worker.inbox.queries import Incoming, MailBox, parse
from worker.inbox.receive import Conversation, Keeper


@pytest.fixture
def box(tmp_path: Path) -> Iterator[MailBox]:
    box = MailBox(tmp_path)
    yield box
    box.close()


class Server:
    """The receiving side on a port of its own, in a thread."""

    def __init__(self, box: MailBox) -> None:
        self._box = box
        self._loop = asyncio.new_event_loop()
        self._clock = FakeClock()
        self.port = 0
        self._thread = Thread(target=self._loop.run_forever)

    def __enter__(self) -> Server:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        keeper = Keeper(lambda mails: self._box.put(mails, self._clock.now()))
        return await self._loop.create_server(lambda: Conversation(keeper), "127.0.0.1", 0)

    async def _leave(self) -> None:
        self._server.close()
        await self._loop.shutdown_default_executor()


@pytest.fixture
def server(box: MailBox) -> Iterator[Server]:
    with Server(box) as server:
        yield server


def _message(text: str = "hello\r\n.\r\n..dots\r\n") -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Größe\U0001f4d0"
    message["Message-ID"] = "<1@x>"
    message["To"] = "ana@example.com"
    message.set_content(text)
    html = "<html><head><title>x</title></head><body><script>1</script>hi</body></html>"
    message.add_alternative(html, subtype="html")
    return message


def test_a_mail_is_kept_as_it_was_sent(server: Server, box: MailBox) -> None:
    with smtplib.SMTP("127.0.0.1", server.port) as client:
        client.send_message(_message(), "news@blog.example", ["ana@example.com", "bo@example.com"])
    assert [mail.rcpt_to for mail in box.newest()] == ["bo@example.com", "ana@example.com"]
    found = box.get(1)
    assert found is not None
    mail, raw = found
    assert (mail.subject, mail.message_id, mail.mail_from) == ("Größe\U0001f4d0", "<1@x>", "news@blog.example")
    assert b"\r\n.\r\n..dots\r\n" in raw
    assert box.times_seen() == {"<1@x>": 2}


def test_an_internationalised_address_is_taken(server: Server, box: MailBox) -> None:
    with smtplib.SMTP("127.0.0.1", server.port) as client:
        client.ehlo()
        client.sendmail("news@blog.example", ["jörg@example.com"], b"\r\nx\r\n", ["SMTPUTF8"])
    assert box.newest("jörg")[0].rcpt_to == "jörg@example.com"


def test_many_on_one_connection_in_one_write(server: Server, box: MailBox) -> None:
    one = b"MAIL FROM:<a@b.example> SIZE=10\r\nRCPT TO:<c%d@d.example>\r\nDATA\r\n"

    async def story() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"EHLO x\r\n" + b"".join(one % n + b"Message-ID: <%d@x>\r\n\r\nx\r\n.\r\n" % n for n in range(50)))
        writer.write(b"QUIT\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    answer = asyncio.run(story())
    assert answer.count(b"250 2.0.0 kept") == 50
    assert answer.endswith(b"221 2.0.0 bye\r\n")
    assert set(box.times_seen().values()) == {1}
    assert box.total() == 50


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"RCPT TO:<a@b>\r\n", b"503 5.5.1"),
        (b"DATA\r\n", b"503 5.5.1"),
        (b"MAIL FROM:a@b\r\n", b"501 5.5.4"),
        (b"HAVE FUN\r\n", b"500 5.5.1"),
        (b"x" * 5000 + b"\r\n", b"500 5.5.2"),
    ],
)
def test_what_makes_no_sense_is_answered(server: Server, line: bytes, answer: bytes) -> None:
    async def story() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
        writer.write(line)
        found = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return found

    assert asyncio.run(story()).startswith(answer)


# -- the pages


class Browser:
    """Looks at the pages of a mailbox."""

    def __init__(self, box: MailBox) -> None:
        self._transport = httpx.ASGITransport(create_pages(box))

    def get(self, path: str, **params: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://inbox.example") as client:
                return await client.get(path, params=params or None)

        return asyncio.run(ask())


@pytest.fixture
def pages(box: MailBox) -> Browser:
    raw = _message().as_bytes()
    now = FakeClock().now()
    box.put([Incoming("news@blog.example", f"reader{n}@example.com", raw) for n in range(120)], now)
    return Browser(box)


def test_the_list_is_paged_and_searched(pages: Browser) -> None:
    first = pages.get("/").text
    assert "reader119@example.com" in first
    assert "reader69@" not in first
    assert "Page 1 of 3" in first
    assert "reader69@example.com" in pages.get("/?page=2").text
    assert "1 mail to “reader7@”" in pages.get("/?to=reader7@").text


def test_somebody_elses_html_cannot_act(pages: Browser) -> None:
    body = pages.get("/mail/1/body")
    policy = body.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert '<head><base target="_blank">' in body.text
    page = pages.get("/mail/1").text
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page
    assert "<script>" not in page


def test_text_headers_and_source(pages: Browser) -> None:
    assert "..dots" in pages.get("/mail/1?view=text").text
    assert "Message-ID" in pages.get("/mail/1?view=headers").text
    assert "multipart/alternative" in pages.get("/mail/1?view=source").text
    source = pages.get("/mail/1/source")
    assert source.headers["content-type"] == "message/rfc822"
    assert parse(source.content)["Subject"] == "Größe\U0001f4d0"


def test_json(pages: Browser) -> None:
    found = pages.get("/api/messages", to="reader5@example.com").json()
    assert found["total"] == 1
    one = pages.get(f"/api/messages/{found['messages'][0]['id']}").json()
    assert one["subject"] == "Größe\U0001f4d0"
    assert "..dots" in one["text"]
    assert "<script>" in one["html"]


_WRONG = [("/mail/999", 404), ("/?page=x", 422), ("/mail/1?view=x", 404), ("/x", 404)]


@pytest.mark.parametrize(("path", "status"), _WRONG)
def test_a_wrong_address_is_answered_in_words(pages: Browser, path: str, status: int) -> None:
    answer = pages.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("in_the_way", ["folder is a file", "database is a folder", "no database"])
def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, in_the_way: str) -> None:
    folder = tmp_path / "inbox"
    if in_the_way == "folder is a file":
        folder.touch()
    elif in_the_way == "database is a folder":
        (folder / "inbox.db").mkdir(parents=True)
    else:
        folder.mkdir()
        (folder / "inbox.db").write_bytes(b"no database" * 500)
    with pytest.raises(ConfigurationError, match=r"^PRESSRUN_VAR_DIR: the inbox's folder .* cannot be used"):
        MailBox(folder)
