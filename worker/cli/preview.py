"""`pressrun preview`: a mail with sample data, as files and in the browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from worker.cli.context import system as make_system
from worker.cli.output import choice, say, warn
from worker.cli.samples import KINDS, compile_sample, sample_recipient
from worker.domain.delivery import Kind
from worker.domain.doorbell import RecordingDoorbell
from worker.domain.errors import NotFound
from worker.domain.message import MessageIdentity


@click.command("preview", short_help="Render a mail with sample data.")
@click.argument("template", type=click.Choice([kind.value for kind in KINDS]), default=Kind.NEW_POST.value)
@click.option("--publication", "slug", default="", help="Whose mail; the first one by default.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write to; var/preview.")
@click.option("--text", is_flag=True, help="Print the text part, write no files.")
@click.option("--open", "open_", is_flag=True, help="Open it in the browser.")
def preview(template: str, slug: str, out: Path | None, *, text: bool, open_: bool) -> None:
    """Render TEMPLATE with the sample post and a sample reader: HTML, text and the whole message."""
    system = make_system(RecordingDoorbell())
    publication = system.publications.get(slug or next(iter(system.publications)))
    if publication is None:
        raise NotFound(f"there is no publication {slug!r}; {choice(system.publications)}")
    mail = compile_sample(system, publication, Kind(template))
    recipient = sample_recipient(system, publication)
    content = mail.content(recipient)
    for warning in mail.warnings:
        warn(f"warning: {warning}")
    if text:
        say(f"Subject: {content.subject}\n\n{content.text}")
        return
    folder = out or system.settings.var_dir / "preview"
    folder.mkdir(parents=True, exist_ok=True)
    identity = MessageIdentity(f"<preview@{publication.sender.domain}>", system.clock.now())
    page = folder / f"{template}.html"
    page.write_text(content.html, "utf-8")
    (folder / f"{template}.txt").write_text(f"Subject: {content.subject}\n\n{content.text}", "utf-8")
    (folder / f"{template}.eml").write_bytes(mail.personalise(recipient, identity))
    for kind in ("html", "txt", "eml"):
        say(str(folder / f"{template}.{kind}"))
    if open_:
        webbrowser.open(page.resolve().as_uri())


COMMANDS = {"preview": preview}
