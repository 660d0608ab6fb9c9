"""From a claimed delivery to envelope and bytes: compiled once for a campaign, personalised for each reader."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from worker.delivery import queries
from worker.delivery.parcels import Claimed
from worker.delivery.queries import AnyRow
from worker.domain.delivery import Kind
from worker.domain.errors import NotFound, PermanentError
from worker.domain.identity import message_id, return_path
from worker.domain.message import Envelope, Message, MessageIdentity, Recipient
from worker.domain.publication import Publication
from worker.domain.tokens import Claim, KeyRing, Purpose
from worker.rendering import (
    CompiledMail,
    MailCompiler,
    clean_text,
    confirmation_context,
    post_context,
    unmakeable_otherwise,
)
from worker.storage.database import Database

# A compiled mail is about 100 KB with its variants; a process serves few campaigns in any minute.
CACHED_MAILS = 64


@dataclass(frozen=True, slots=True)
class Links:
    """Makes a reader's links; nothing is looked up for them. `base_url` is ASCII, without a slash at its end."""

    base_url: str
    keys: KeyRing

    def recipient(self, claimed: Claimed) -> Recipient:
        """The reader as templates see them, clean. A test mail to somebody without a subscription has dead links."""
        who = claimed.subscription_id or 0, claimed.generation, int(claimed.created_at.timestamp())
        sign, base = self.keys.sign, self.base_url
        confirms = claimed.kind is Kind.CONFIRMATION
        return Recipient(
            clean_text(claimed.address),
            clean_text(claimed.name),
            clean_text(claimed.locale),
            f"{base}/unsubscribe/{sign(Claim(Purpose.UNSUBSCRIBE, *who))}",
            f"{base}/manage/{sign(Claim(Purpose.MANAGE, *who))}",
            f"{base}/confirm/{sign(Claim(Purpose.CONFIRM, *who))}" if confirms else "",
        )


@dataclass(frozen=True, slots=True)
class CompiledParcel:
    """The `Mail` a courier calls for each delivery."""

    mail: CompiledMail
    publication: Publication
    links: Links
    identity_key: bytes

    def compose(self, claimed: Claimed) -> tuple[Envelope, Message]:
        sender = self.publication.sender
        identity = MessageIdentity(message_id(self.identity_key, claimed.id, sender.domain), claimed.created_at)
        mail_from = return_path(self.identity_key, claimed.id, sender.return_domain)
        message = Message(self.mail.fill(self.links.recipient(claimed), identity), dotless=True)
        return Envelope(mail_from, claimed.address), message


@dataclass(frozen=True, slots=True)
class _Key:
    """What one compiled mail serves."""

    publication: str
    kind: Kind
    campaign_id: int | None
    lists: tuple[str, ...]


class Composer:
    """Keeps the compiled mails of this process, the least used going first."""

    def __init__(
        self, database: Database, compiler: MailCompiler, publications: Mapping[str, Publication], links: Links,
        identity_key: bytes, confirm_hours: float,
    ) -> None:  # fmt: skip
        self._database = database
        self._compiler = compiler
        self._publications = publications
        self._links = links
        self._identity_key = identity_key
        self._confirm_hours = confirm_hours
        self._mails: OrderedDict[_Key, CompiledParcel] = OrderedDict()

    def mail_for(self, claimed: Claimed) -> CompiledParcel:
        """Raises `TemplateFault`, `ContentTooLarge`, `Unmakeable`, or `NotFound` for a publication that is gone."""
        campaign_id = claimed.campaign_id or claimed.shows_campaign_id
        lists = () if campaign_id else claimed.lists
        return self._mail(_Key(claimed.publication, claimed.kind, campaign_id, lists))

    def prepare(self, publication: str, campaign_id: int) -> None:
        """Compile a campaign's mail ahead of its first claim. Raises as `mail_for`."""
        self._mail(_Key(publication, Kind.NEW_POST, campaign_id, ()))

    def warm_up(self) -> None:
        """Compile the confirmations, so that the first reader does not wait. A broken one is met when it is due."""
        for slug, publication in self._publications.items():
            for one in publication.lists:
                with suppress(PermanentError):
                    self._mail(_Key(slug, Kind.CONFIRMATION, None, (one.slug,)))

    def rehearse(self) -> None:
        """Compile a post that nobody gets: templates, styles and modules that are read once are there for the first."""
        for publication in list(self._publications.values())[:1]:
            post = {"title": publication.name, "url": publication.brand.url, "html": "<p>A paragraph.</p>"}
            with suppress(PermanentError):
                context = post_context(publication, post, list_slug=publication.lists[0].slug)
                self._compiler.compile(publication, Kind.NEW_POST, context)

    def _mail(self, key: _Key) -> CompiledParcel:
        if key.kind is Kind.TEST:
            # seldom, and often of a campaign that has not begun: its post may have been replaced since the last one
            return self._compile(key)
        found = self._mails.get(key)
        if found is None:
            found = self._mails[key] = self._compile(key)
            while len(self._mails) > CACHED_MAILS:
                self._mails.popitem(last=False)
        self._mails.move_to_end(key)
        return found

    def _compile(self, key: _Key) -> CompiledParcel:
        publication = self._publications.get(key.publication)
        if publication is None:
            raise NotFound(f"publication {key.publication!r} is not in config/publications/ any more")
        post = None if key.campaign_id is None else self._post(key.campaign_id)
        with unmakeable_otherwise():
            shared = self._shared(publication, key, post)
            mail = self._compiler.compile(publication, key.kind, shared)
        return CompiledParcel(mail, publication, self._links, self._identity_key)

    def _post(self, campaign_id: int) -> AnyRow:
        with self._database.read() as connection:
            return queries.campaign_post(connection, campaign_id)

    def _shared(self, publication: Publication, key: _Key, post: AnyRow | None) -> Mapping[str, object]:
        if post is None:
            lists = [one for one in publication.lists if one.slug in key.lists]
            return confirmation_context(publication, lists, self._confirm_hours)
        return post_context(publication, post.post, list_slug=post.list_slug)
