from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from worker.delivery.transports.relay import Login, Relay, Tls, read_relay
from worker.domain.errors import ConfigurationError


def read(url: str, helo: str = "me.example", ca_file: str = "", verify: bool = True) -> Relay:
    return read_relay(url, helo=helo, connect_timeout=1, verify=verify, ca_file=ca_file)


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "login"),
    [
        ("smtp://relay.example", "relay.example", 25, Tls.NONE, None),
        ("smtp://127.0.0.1:1025", "127.0.0.1", 1025, Tls.NONE, None),
        ("smtp://[::1]:1025/", "::1", 1025, Tls.NONE, None),
        ("smtp://mail_pit:1025", "mail_pit", 1025, Tls.NONE, None),
        ("smtp://user:pass@relay.example:587?tls=starttls", "relay.example", 587, Tls.STARTTLS, Login("user", "pass")),
        ("smtp://relay.example?tls=starttls", "relay.example", 587, Tls.STARTTLS, None),
        ("smtp://relay.example?tls=tls", "relay.example", 465, Tls.TLS, None),
        ("smtps://u%40d.example:p%2F%3F%23%25@relay.example", "relay.example", 465, Tls.TLS,
         Login("u@d.example", "p/?#%")),
        ("smtp://u:p@relay.example?tls=none", "relay.example", 25, Tls.NONE, Login("u", "p")),
        ("smtp://u:p@localhost:25", "localhost", 25, Tls.NONE, Login("u", "p")),
        ("smtp://u:p@127.0.0.2:25", "127.0.0.2", 25, Tls.NONE, Login("u", "p")),
    ],
)
def test_a_url_is_read(url: str, host: str, port: int, tls: Tls, login: Login | None) -> None:
    relay = read(url)
    assert (relay.host, relay.port, relay.tls, relay.login) == (host, port, tls, login)
    assert (relay.context is None) == (tls is Tls.NONE)
    assert "pass" not in repr(relay)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("", "scheme ''"),
        ("relay.example:25", "scheme"),
        ("http://relay.example", "scheme 'http'"),
        ("smtp://", "no host"),
        ("smtp://:25", "no host"),
        ("smtp://[::1", "no host"),
        ("smtp://re lay", "no host has"),
        ("smtp://relay.example:0", "no port"),
        ("smtp://relay.example:99999", "no port"),
        ("smtp://relay.example:smtp", "no port"),
        ("smtp://relay.example/inbox", "after the host"),
        ("smtp://relay.example#x", "after the host"),
        ("smtp://relay.example?tls=maybe", "tls='maybe'"),
        ("smtp://relay.example?tls=", "tls=''"),
        ("smtp://relay.example?tls=tls&tls=none", "'tls', 'tls'"),
        ("smtp://relay.example?ssl=1", "'ssl'"),
        ("smtp://relay.example?tsl=none", "['tsl']; allowed: one parameter: tls=none, tls=starttls or tls=tls"),
        ("smtps://relay.example?tls=none", "smtps:// with tls=none"),
        ("smtp://user@relay.example?tls=tls", "half a login"),
        ("smtp://:hunter2@relay.example?tls=tls", "half a login"),
        ("smtp://user:hunter2@relay.example", "a login without TLS"),
        ("smtp://user:hunter2%00@relay.example?tls=tls", "a NUL"),
        ("smtp://user:hunter2/x@relay.example?tls=tls", "after the host"),
        ("smtp://user:hun#ter2@relay.example?tls=tls", "after the host"),
        ("smtp://user:hun?ter2@relay.example?tls=tls", "after the host"),
        ("smtp://user:hun?ter2", "no port"),
    ],
)
def test_a_wrong_url_names_the_key_what_was_found_and_what_is_allowed(url: str, found: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(url)
    message = str(raised.value)
    assert message.startswith("PRESSRUN_SMTP_URL: found ")
    assert found in message
    assert "; allowed: " in message
    assert "hunter2" not in message
    assert "ter2" not in message


def test_certificates_are_checked_unless_told_otherwise() -> None:
    strict, lax = read("smtps://relay.example").context, read("smtps://relay.example", verify=False).context
    assert strict is not None
    assert lax is not None
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (lax.verify_mode, lax.check_hostname) == (ssl.CERT_NONE, False)
    assert strict.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_ca_file_that_is_none_names_its_key(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for name in (str(broken), str(tmp_path / "absent.pem"), str(tmp_path)):
        # without TLS nothing would read it until the day TLS comes
        for url in ("smtps://relay.example", "smtp://relay.example"):
            with pytest.raises(ConfigurationError, match=r"^PRESSRUN_SMTP_CA_FILE: found "):
                read(url, ca_file=name)


@pytest.mark.parametrize("helo", ["a b", "a\r\nMAIL FROM:<>", "-a", "ü.example", "a" * 300])
def test_a_helo_that_is_no_name_names_its_key(helo: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^PRESSRUN_SMTP_HELO: found "):
        read("smtp://relay.example", helo=helo)


def test_an_empty_helo_is_this_host() -> None:
    assert read("smtp://relay.example", helo="").helo
    assert read("smtp://relay.example", helo="[192.0.2.1]").helo == "[192.0.2.1]"
