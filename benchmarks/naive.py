"""The Celery task one would write first: for each recipient render, inline, connect, send, commit.

It uses what Pressrun uses (Celery on Redis, Jinja2, premailer, SQLAlchemy on SQLite); mails come to 16 KB as well.
"""

from __future__ import annotations

import os
import smtplib
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import cache
from pathlib import Path

import jinja2
from celery import Celery
from premailer import transform
from sqlalchemy import Column, DateTime, Engine, Integer, MetaData, Table, create_engine, func, insert, select

from tests.running import wait_until
from tests.servers import REPOSITORY, running_redis

app = Celery("naive", broker=os.environ.get("NAIVE_BROKER", "memory://"))
app.conf.update(task_ignore_result=True)

_SENT = Table("sent", MetaData(), Column("recipient", Integer, primary_key=True), Column("at", DateTime))
_TEMPLATE = jinja2.Template("""<!DOCTYPE html><html><head><style>
body { font-family: Georgia, serif; color: #222 } p { margin: 0 0 16px; line-height: 1.6 } a { color: #1a56db }
h1 { font-size: 28px } .card { max-width: 600px; margin: 0 auto; padding: 24px } .foot { color: #777; font-size: 12px }
</style></head><body><div class="card"><h1>{{ title }}</h1>{% for one in paragraphs %}<p>{{ one }}</p>{% endfor %}
<p class="foot">You get this as {{ email }}. <a href="{{ link }}">Unsubscribe</a></p></div></body></html>""")
_PARAGRAPHS = ["A sentence of some length, as one finds them in a post that people like to read. " * 4] * 21


def compose(recipient: int) -> EmailMessage:
    """One reader's whole mail."""
    link, address = f"https://blog.example/unsubscribe/{recipient}", f"reader{recipient}@north.example"
    html = _TEMPLATE.render(title="A post", paragraphs=_PARAGRAPHS, email=address, link=link)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "news@blog.example", address, "A post"
    message["List-Unsubscribe"] = f"<{link}>"
    message.set_content("\n\n".join([*_PARAGRAPHS, link]))
    message.add_alternative(transform(html), subtype="html")
    return message


@app.task  # type: ignore[untyped-decorator]
def send(recipient: int) -> None:
    """All of it, for one recipient."""
    message = compose(recipient)
    with smtplib.SMTP("127.0.0.1", int(os.environ["NAIVE_PORT"])) as server:
        server.send_message(message)
    with _engine(os.environ["NAIVE_DATABASE"]).begin() as connection:
        connection.execute(insert(_SENT).values(recipient=recipient, at=datetime.now(UTC)))


@cache
def _engine(url: str) -> Engine:
    """Made after the fork, by the first task."""
    return create_engine(url)


def speed(port: int, mails: int) -> float:
    """Mails a second over two worker processes, from the first task sent to the last commit."""
    with tempfile.TemporaryDirectory(prefix="pr-naive-") as folder, running_redis() as redis:
        database = f"sqlite:///{Path(folder) / 'naive.db'}"
        _SENT.metadata.create_all(_engine(database))
        environ = {**os.environ, "NAIVE_BROKER": redis.url, "NAIVE_PORT": str(port), "NAIVE_DATABASE": database}
        log = Path(folder) / "worker.log"
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.naive", "worker", "-c", "2", "-E", "-l", "INFO"]
        with log.open("w") as out:
            worker = subprocess.Popen(command, env=environ, cwd=REPOSITORY, stdout=out, stderr=out)
        try:
            wait_until(lambda: "ready." in log.read_text(), 30, log.read_text)
            return _timed(redis.url, database, mails)
        finally:
            worker.terminate()
            worker.wait(20)
            _engine(database).dispose()


def _timed(broker: str, database: str, mails: int) -> float:
    began = time.monotonic()
    with app.connection_for_write(broker) as connection:
        for recipient in range(mails):
            send.apply_async((recipient,), connection=connection)
    wait_until(lambda: _committed(database) == mails, 60 + mails / 20)
    return mails / (time.monotonic() - began)


def _committed(database: str) -> int:
    with _engine(database).connect() as connection:
        return connection.execute(select(func.count()).select_from(_SENT)).scalar_one()
