from __future__ import annotations

import hmac

from hypothesis import given
from hypothesis import strategies as st

from worker.domain.mac import Mac, mac_of


def test_the_vectors_of_rfc_4231() -> None:
    """§4.2, §4.3 and §4.7 (a key longer than a block)."""
    assert Mac(b"\x0b" * 20).tag(b"Hi There").hex().startswith("b0344c61d8db38535ca8afceaf0bf12b")
    assert Mac(b"Jefe").tag(b"what do ya want for nothing?").hex().startswith("5bdcc146bf60754e6a042426089575c7")
    long = Mac(b"\xaa" * 131).tag(b"Test Using Larger Than Block-Size Key - Hash Key First")
    assert long.hex().startswith("60e431591ee0b67f0d8a26aacbf5b77f")


@given(st.binary(max_size=200), st.lists(st.binary(max_size=300), max_size=3))
def test_is_the_standard_library_s_hmac_however_often_it_is_used(key: bytes, texts: list[bytes]) -> None:
    for text in texts:
        assert mac_of(key).tag(text) == hmac.digest(key, text, "sha256")
