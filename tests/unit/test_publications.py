"""Publications: what is read, and that every wrong key is named with the fix."""

from __future__ import annotations

import base64
import hashlib
from datetime import date
from pathlib import Path

import pytest

from tests.servers import REPOSITORY
from worker.domain.errors import ConfigurationError
from worker.domain.publication import WarmupStart
from worker.publications import load_publications, secret_names

_SAMPLE = (REPOSITORY / "config" / "publications" / "daily.toml").read_text("utf-8")
_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "publications").mkdir()
    return tmp_path


def _write(config: Path, text: str, slug: str = "daily") -> Path:
    (config / "publications" / f"{slug}.toml").write_text(text, "utf-8")
    return config


def test_the_sample_is_what_the_design_says() -> None:
    daily = load_publications(REPOSITORY / "config", {})["daily"]
    assert [one.slug for one in daily.lists] == ["posts"]
    assert daily.welcome is False
    assert (daily.token_hashes, daily.signing_secrets, daily.ghost_secrets) == ((), (), ())


def test_secrets_come_from_the_environment(config: Path) -> None:
    environ = {
        "PRESSRUN_DAILY_TOKEN": "one token of many, two tokens of many",
        "PRESSRUN_DAILY_SECRET": f"{_SECRET},{_SECRET[:-6]}AAAAA=",
        "PRESSRUN_DAILY_GHOST_SECRET": "boo",
    }
    daily = load_publications(_write(config, _SAMPLE), environ)["daily"]
    tokens = (b"one token of many", b"two tokens of many")
    assert daily.token_hashes == tuple(hashlib.sha256(one).hexdigest() for one in tokens)
    assert daily.signing_secrets[0] == bytes(range(32))
    assert len(daily.signing_secrets) == 2
    assert daily.ghost_secrets == ("boo",)
    # an error or a log that shows a publication shows no secret
    assert "boo" not in repr(daily)
    assert "signing" not in repr(daily)


def test_dashes_become_underscores() -> None:
    assert secret_names("the-daily")[0] == "PRESSRUN_THE_DAILY_TOKEN"


def test_a_hash_may_stand_in_the_file(config: Path) -> None:
    text = f'token_sha256 = ["{"0" * 64}"]\n' + _SAMPLE
    assert load_publications(_write(config, text), {})["daily"].token_hashes == ("0" * 64,)


def test_templates_are_looked_for_beside_the_file(config: Path) -> None:
    text = 'templates = "own"\n' + _SAMPLE
    with pytest.raises(ConfigurationError, match=r"daily.toml: templates: found 'own'; allowed: a folder"):
        load_publications(_write(config, text), {})
    (config / "publications" / "own").mkdir()
    assert load_publications(config, {})["daily"].templates == config / "publications" / "own"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name = "The Daily"\n# What', "# What", "daily.toml: name: found nothing"),
        ('name = "The Daily"\n# What', 'name = "The\\r\\nBcc: x"\n# What', "name: found 'The"),
        ("welcome = false", 'welcome = "no"', "welcome: found 'no'; allowed: a valid boolean"),
        ("welcome = false", "wellcome = false", "wellcome: there is no such key"),
        ('"Europe/Madrid"', '"Europe/Atlantis"', "timezone: found 'Europe/Atlantis'; allowed: a time zone"),
        ('post_body = "full"', 'post_body = "half"', "post_body: found 'half'; allowed: 'full' or 'excerpt'"),
        ('"news@blog.example"', '"news"', "sender.email: found 'news'"),
        ('"https://blog.example"', '"blog.example"', "brand.url: found 'blog.example'; allowed: an absolute http"),
        ('"#1a56db"', '"blue"', "brand.color: found 'blue'"),
        ('slug = "posts"', 'slug = "All Posts"', "lists.0.slug: found 'All Posts'"),
        ("[[lists]]", "[[lists]]\nslug = 'posts'\nname = 'x'\n[[lists]]", "lists.slug: found ['posts', 'posts']"),
        ("[[lists]]", "[lists", "cannot be read"),
        ("[sender]", "[warmup]\n[sender]", "warmup.start: found nothing; this key is needed"),
        ("[sender]", "[warmup]\nstart = 3\n[sender]", "warmup.start: found 3; allowed: a date such as 2025-03-01"),
        ("[sender]", "[warmup]\nstart = '1.3.2025'\n[sender]", "warmup.start: found '1.3.2025'; allowed: a date such"),
        ("[sender]", "[warmup]\nstart = 2025-03-01T09:00:00Z\n[sender]", "allowed: a date such as 2025-03-01"),
        ("[sender]", "[warmup]\nstart = 2025-03-01\nschedule = [9, 5]\n[sender]", "schedule: found [9, 5]; allowed: m"),
        ("[sender]", "[warmup]\nstart = 2025-03-01\nschedule = [0]\n[sender]", "schedule: found [0]; allowed: mails a"),
        ("[sender]", "[warmup]\nstart = 2025-03-01\nschedule = []\n[sender]", "schedule: found []; allowed: mails a"),
        ("[sender]", "[warmup]\nstart = 2025-03-01\nschedule = ['9']\n[sender]", "schedule.0: found '9'; allowed: a v"),
        ("[sender]", "[warmup]\nstart = 2025-03-01\nsteps = [9]\n[sender]", "warmup.steps: there is no such key"),
    ],
)
def test_a_wrong_key_is_named(config: Path, old: str, new: str, named: str) -> None:
    assert old in _SAMPLE
    with pytest.raises(ConfigurationError) as caught:
        load_publications(_write(config, _SAMPLE.replace(old, new, 1)), {})
    assert "daily.toml" in str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "named"),
    [
        ("secret", "without `whsec_`"),
        ("whsec_###", "not base64"),
        ("whsec_" + base64.b64encode(b"x" * 23).decode(), "found 23 bytes"),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), "found 65 bytes"),
    ],
)
def test_a_wrong_secret_is_named_and_not_shown(config: Path, secret: str, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_publications(_write(config, _SAMPLE), {"PRESSRUN_DAILY_SECRET": secret})
    assert str(caught.value).startswith("PRESSRUN_DAILY_SECRET: ")
    assert named in str(caught.value)
    assert secret not in str(caught.value).partition("; allowed")[0].replace("PRESSRUN_DAILY_SECRET", "")


def test_a_slug_must_fit_urls_and_variables(config: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"The Daily.toml: the file's name is the publication's slug"):
        load_publications(_write(config, _SAMPLE, "The Daily"), {})


def test_two_publications_may_not_share_a_credential(config: Path) -> None:
    _write(config, _SAMPLE, "weekly")
    environ = {"PRESSRUN_DAILY_TOKEN": "the same for both", "PRESSRUN_WEEKLY_TOKEN": "the same for both"}
    with pytest.raises(ConfigurationError, match="'daily' and 'weekly' share a token"):
        load_publications(_write(config, _SAMPLE), environ)


def test_none_at_all_is_an_error(config: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no publication"):
        load_publications(config, {})


_WARM = "[warmup]\nstart = {}\n[sender]"


@pytest.mark.parametrize("start", ["2025-03-01", "'2025-03-01'"])
def test_a_new_domain_is_one_from_a_date_on(config: Path, start: str) -> None:
    found = load_publications(_write(config, _SAMPLE.replace("[sender]", _WARM.format(start), 1)), {})["daily"]
    assert found.warmup == WarmupStart(date(2025, 3, 1))


def test_publications_of_one_domain_do_not_contradict_each_other(config: Path) -> None:
    _write(config, _SAMPLE.replace("[sender]", _WARM.format("2025-03-01"), 1))
    _write(config, _SAMPLE.replace("[sender]", _WARM.format("2025-03-02"), 1), "weekly")
    with pytest.raises(ConfigurationError, match=r"'daily' and 'weekly': warmup: found two for blog.example; allowed"):
        load_publications(config, {})
    _write(config, _SAMPLE, "weekly")
    assert load_publications(config, {})["weekly"].warmup is None
