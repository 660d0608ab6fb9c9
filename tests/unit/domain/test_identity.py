from __future__ import annotations

import pytest

from worker.domain.identity import message_id, read_return_path, return_path

KEY, OTHER = b"k" * 32, b"o" * 32


def test_a_message_id_is_the_same_for_the_same_delivery_and_nobody_elses() -> None:
    own = message_id(KEY, 7, "daily.example")
    assert own == message_id(KEY, 7, "daily.example")
    assert own.startswith("<7.")
    assert own.endswith("@daily.example>")
    assert len({own, message_id(KEY, 8, "daily.example"), message_id(OTHER, 7, "daily.example")}) == 3


@pytest.mark.parametrize("delivery_id", [1, 42, 10**12, 2**62 // 10])
def test_a_return_path_leads_back(delivery_id: int) -> None:
    path = return_path(KEY, delivery_id, "bounce.daily.example")
    local = path.partition("@")[0]
    assert len(local) <= 64  # RFC 5321 §4.5.3.1.1
    assert read_return_path(KEY, path) == delivery_id
    # some servers fold the case of a local part
    assert read_return_path(KEY, path.upper()) == delivery_id


def test_a_return_path_is_not_a_message_id() -> None:
    """The tags differ by purpose: one in the open (the Message-ID) does not give the other away."""
    tag = message_id(KEY, 7, "d.example").split(".")[1].partition("@")[0]
    assert read_return_path(KEY, f"b+7-{tag}@d.example") is None


@pytest.mark.parametrize(
    "address",
    [
        "", "@", "b+", "b+7", "b+7-@d.example", "c+7-tag@d.example", "b+-tag@d.example", "b+7-tag@d.example",
        "b+²-tag@d.example", "b+" + "9" * 400 + "-tag@d.example", "b+7-\udcff@d.example", "b+7-é@d.example",
        "b+99999999999999999999-x@d.example", "b+999999999999999999-x@d.example", "b+0x7-tag@d.example",
    ],
)
def test_what_nobody_signed_leads_nowhere(address: str) -> None:
    assert read_return_path(KEY, address) is None


def test_one_changed_character_or_another_key_leads_nowhere() -> None:
    path = return_path(KEY, 7, "d.example")
    assert read_return_path(OTHER, path) is None
    for index, character in enumerate(path):
        changed = path[:index] + ("a" if character != "a" else "c") + path[index + 1 :]
        if index < path.index("@"):
            assert read_return_path(KEY, changed) is None
