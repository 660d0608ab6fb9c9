"""Settings: environment over file over defaults, and a wrong value named with what is allowed."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.servers import REPOSITORY
from worker.cli import configdoc
from worker.domain.errors import ConfigurationError
from worker.options import Settings
from worker.settings import load_settings

_KEY = "k" * 32


def _load(tmp_path: Path, file: str = "", **environ: str) -> Settings:
    path = tmp_path / "pressrun.toml"
    path.write_text(file, "utf-8")
    base = {"PRESSRUN_CONFIG": str(path), "PRESSRUN_VAR_DIR": str(tmp_path / "var"), "PRESSRUN_SECRET_KEY": _KEY}
    return load_settings(base | environ)


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    assert _load(tmp_path).api_port == 8025
    assert _load(tmp_path, "api_port = 9000").api_port == 9000
    assert _load(tmp_path, "api_port = 9000", PRESSRUN_API_PORT="9001").api_port == 9001


def test_an_empty_variable_is_unset(tmp_path: Path) -> None:
    assert _load(tmp_path, PRESSRUN_API_PORT="").api_port == 8025
    # a limit of the file can be lifted from the environment
    assert _load(tmp_path, "limit_per_second = 5", PRESSRUN_LIMIT_PER_SECOND="").limit_per_second is None


def test_the_warmup_schedule_is_a_list(tmp_path: Path) -> None:
    assert _load(tmp_path, "warmup_schedule = [10, 20]").warmup_schedule == (10, 20)
    assert _load(tmp_path, PRESSRUN_WARMUP_SCHEDULE="10, 15,20").warmup_schedule == (10, 15, 20)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"PRESSRUN_API_PORT": "http"}, "PRESSRUN_API_PORT: found 'http'; allowed: a valid integer"),
        ({"PRESSRUN_API_PORT": "70000"}, "PRESSRUN_API_PORT: found '70000'; allowed: less than or equal to 65535"),
        ({"PRESSRUN_LOG_LEVEL": "LOUD"}, "PRESSRUN_LOG_LEVEL: found 'LOUD'; allowed: 'DEBUG', 'INFO'"),
        ({"PRESSRUN_LIMIT_PER_SECOND": "0"}, "PRESSRUN_LIMIT_PER_SECOND: found '0'; allowed: greater than 0"),
        ({"PRESSRUN_CONFIRM_HOURS": "1e999"}, "PRESSRUN_CONFIRM_HOURS: found '1e999'"),
        ({"PRESSRUN_SMTP_TIMEOUT_SECONDS": "inf"}, "PRESSRUN_SMTP_TIMEOUT_SECONDS: found 'inf'"),
        ({"PRESSRUN_DATABASE_URL": "mysql://x"}, "PRESSRUN_DATABASE_URL: found scheme 'mysql'; allowed: sqlite://"),
        ({"PRESSRUN_SMTP_URL": "relay:25"}, "PRESSRUN_SMTP_URL: found no scheme; allowed: smtp://"),
        ({"PRESSRUN_SECRET_KEY": "short"}, "PRESSRUN_SECRET_KEY: found 5 characters; allowed: 32 or more"),
        ({"PRESSRUN_TRUSTED_PROXIES": "10.0.0.0/8,x"}, "allowed: networks such as 10.0.0.0/8"),
        ({"PRESSRUN_OLD_SECRET_KEYS": "1"}, "PRESSRUN_OLD_SECRET_KEYS: found (hidden); allowed: `id=key` pairs"),
        ({"PRESSRUN_OLD_SECRET_KEYS": f"300={_KEY}"}, "allowed: ids from 0 to 255"),
        ({"PRESSRUN_ENVIRONMENT": "production", "PRESSRUN_SECRET_KEY": ""}, "PRESSRUN_SECRET_KEY: found nothing"),
        ({"PRESSRUN_ENVIRONMENT": "production", "PRESSRUN_PUBLIC_URL": "http://x"}, "needs an https:// URL"),
        ({"PRESSRUN_WARMUP_SCHEDULE": "150,many"}, "PRESSRUN_WARMUP_SCHEDULE: found 'many'; allowed: a valid integer"),
        ({"PRESSRUN_WARMUP_SCHEDULE": "250,150"}, "allowed: mails a day for 1 to 366 days, such as 150, 250, 400"),
        ({"PRESSRUN_CONFIG": "/nowhere.toml"}, "PRESSRUN_CONFIG: no file at '/nowhere.toml'"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, environ: Mapping[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _load(tmp_path, "", **environ)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("api_port = 'x'", "pressrun.toml: api_port: found 'x'; allowed: a valid integer"),
        ("api_prot = 1", "pressrun.toml: api_prot: there is no such setting"),
        ("api_port = ", "cannot be read"),
    ],
)
def test_a_wrong_key_of_the_file_is_named(tmp_path: Path, file: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        _load(tmp_path, file)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PUBLIC_URL": "https://x y"}, "found 'https://x y'; allowed: https://mail.blog.example"),
        ({"PUBLIC_URL": "https://x.example/?q=1"}, "found 'https://x.example/?q=1'; allowed"),
        ({"PUBLIC_URL": "https://u:p@x.example"}, "allowed: https://mail.blog.example"),
        ({"PUBLIC_URL": "https://x.example:abc"}, "allowed: https://mail.blog.example"),
        ({"PUBLIC_URL": "https://"}, "allowed: https://mail.blog.example"),
        ({"API_HOST": "not.a.host.."}, "found 'not.a.host..'; allowed: an address or a host's name"),
        ({"FLOWER_HOST": "a" * 64}, "allowed: an address or a host's name"),
        ({"REDIS_URL": "redis://127.0.0.1:1/xx"}, "found database 'xx'; allowed: a number"),
        ({"CAMPAIGNS_PER_HOUR": "9" * 23}, "allowed: less than or equal to 1000000000"),
        ({"SIGNUPS_PER_IP_HOUR": "9" * 23}, "allowed: less than or equal to 1000000000"),
        ({"RETENTION_DAYS": "3000000000"}, "allowed: less than or equal to 36500"),
        ({"LIMIT_PER_SECOND": "1e300"}, "allowed: less than or equal to 1000000000"),
    ],
)
def test_what_would_break_later_is_refused_at_once(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    (name,) = environ
    with pytest.raises(ConfigurationError, match=f"^PRESSRUN_{name}: ") as caught:
        _load(tmp_path, **{f"PRESSRUN_{name}": environ[name]})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://x.example", "https://x.example:8443/press", "http://[::1]:8025", "http://127.0.0.1/"]
)
def test_links_start_with_any_address_a_path_can_follow(tmp_path: Path, url: str) -> None:
    assert _load(tmp_path, PRESSRUN_PUBLIC_URL=url).public_url == url


def test_a_damaged_key_says_what_its_loss_costs(tmp_path: Path) -> None:
    _load(tmp_path, PRESSRUN_SECRET_KEY="")
    (tmp_path / "var" / "secret.key").write_bytes(b"\xff\xfe" * 40)
    with pytest.raises(ConfigurationError, match="holds no key; restore it from a backup"):
        _load(tmp_path, PRESSRUN_SECRET_KEY="")


def test_a_wrong_secret_is_never_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _load(tmp_path, "flower_password = 12345678")
    assert "12345678" not in str(caught.value)


def test_development_makes_its_key_once(tmp_path: Path) -> None:
    first = _load(tmp_path, PRESSRUN_SECRET_KEY="")
    assert len(first.secret_key) >= 32
    assert _load(tmp_path, PRESSRUN_SECRET_KEY="").secret_key == first.secret_key
    assert (tmp_path / "var" / "secret.key").stat().st_mode & 0o777 == 0o600
    assert first.secret_key not in repr(first)


def test_parts_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        for number in range(50):
            folder = tmp_path / str(number)
            folder.mkdir()
            starts = Barrier(8)

            def key(folder: Path = folder, starts: Barrier = starts) -> str:
                starts.wait()
                return _load(folder, PRESSRUN_SECRET_KEY="").secret_key

            assert len({one.result() for one in [threads.submit(key) for _ in range(8)]}) == 1
            assert [one.name for one in (folder / "var").iterdir()] == ["secret.key"]


def test_a_folder_without_hard_links_has_a_key_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    first = _load(tmp_path, PRESSRUN_SECRET_KEY="")
    assert len(first.secret_key) >= 32
    assert _load(tmp_path, PRESSRUN_SECRET_KEY="").secret_key == first.secret_key
    assert (tmp_path / "var" / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    # a file is no folder for anybody, root too
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"PRESSRUN_VAR_DIR: .*/file/var cannot be written"):
        _load(tmp_path, PRESSRUN_SECRET_KEY="", PRESSRUN_VAR_DIR=str(tmp_path / "file" / "var"))


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"PRESSRUN_VAR_DIR: .*/file cannot be written"):
        _load(tmp_path, PRESSRUN_SECRET_KEY="", PRESSRUN_VAR_DIR=str(tmp_path / "file"))


def test_proxies_are_a_list(tmp_path: Path) -> None:
    settings = _load(tmp_path, PRESSRUN_TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.1")
    assert settings.trusted_proxies == ("10.0.0.0/8", "192.0.2.1")


def test_a_long_folder_still_has_a_socket(tmp_path: Path) -> None:
    settings = _load(tmp_path, PRESSRUN_VAR_DIR=str(tmp_path / ("x" * 120)))
    assert len(str(settings.redis_socket)) < 100


def test_the_file_holds_every_setting_once_with_its_default() -> None:
    """Uncommented, it gives the defaults."""
    text = (REPOSITORY / "config" / "pressrun.toml").read_text("utf-8")
    assert text == configdoc.configuration_file(), "run `make docs`"
    found = tomllib.loads(re.sub(r"(?m)^#(?=[a-z_]+ = )", "", text))
    assert set(found) == set(Settings.model_fields) - {"config_dir"}
    settings = Settings.model_validate(found)
    assert settings == Settings.model_construct()


def test_the_page_is_made_from_the_settings() -> None:
    page = (REPOSITORY / "docs" / "configuration.md").read_text("utf-8")
    assert page == configdoc.configuration_page(), "run `make docs`"
    for name in Settings.model_fields:
        assert name == "config_dir" or f"`PRESSRUN_{name.upper()}`" in page
