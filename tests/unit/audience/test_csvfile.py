"""Reading a CSV of readers: what is wrong is said with its line, and no row is lost without a word."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from worker.audience.csvfile import BadRow, ReaderRow, read_rows
from worker.domain.errors import InvalidInput


def rows(text: str | bytes) -> list[ReaderRow | BadRow]:
    return list(read_rows(io.BytesIO(text if isinstance(text, bytes) else text.encode())))


def good(text: str | bytes) -> list[ReaderRow]:
    found = rows(text)
    assert all(isinstance(one, ReaderRow) for one in found), found
    return [one for one in found if isinstance(one, ReaderRow)]


def bad(text: str | bytes) -> list[tuple[int, str]]:
    return [(one.line, one.reason) for one in rows(text) if isinstance(one, BadRow)]


def test_reads_addresses_and_names() -> None:
    first, second = good("email,name\nana@example.com,Ana López\nbo@example.com,\n")
    assert (first.line, first.address.address, first.name, first.labels) == (2, "ana@example.com", "Ana López", ())
    assert (second.line, second.name) == (3, "")


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_takes_what_spreadsheets_write(ends: str) -> None:
    text = ends.join(["\ufeffName , EMAIL ", '"López, Ana", ana@example.com ', "", "Bo,bo@example.com"])
    assert [(one.name, one.address.email) for one in good(text)] == [
        ("López, Ana", "ana@example.com"), ("Bo", "bo@example.com"),
    ]  # fmt: skip


def test_a_short_row_has_empty_fields_and_a_long_one_is_bad() -> None:
    text = "email,name,vip\nana@example.com\nbo@example.com,López, Bo,1\n"
    assert bad(text) == [(3, "row: has 4 fields, the header 3; is a comma not quoted?")]
    assert rows(text)[0] == good("email\nana@example.com\n")[0]


def test_other_columns_are_labels() -> None:
    header = "email,vip,city,labels\n"
    cases = {
        "1,Madrid,": ("vip", "city:Madrid"),
        "Yes,0,": ("vip",),
        "x,false,early; press ;;early": ("early", "press", "vip"),
        "TRUE,,": ("vip",),
        "no,No,": (),
        "gold,1,": ("vip:gold", "city"),
    }
    for row, labels in cases.items():
        assert good(f"{header}ana@example.com,{row}\n")[0].labels == labels


def test_consent_has_columns_of_its_own() -> None:
    header = "email,consent_at,consent_ip,consent_evidence"
    (one,) = good(f"{header}\nana@example.com,2024-05-01T12:00:00+02:00,2001:DB8::1,paper form\n")
    assert one.consent_at == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert (one.consent_ip, one.consent_evidence, one.labels) == ("2001:db8::1", "paper form", ())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("ana", "email: is not an email address"),
        (",Ana", "email: is missing"),
        ("ana\0@example.com,Ana", "email: must not hold"),
        ("ana@example.com,A\0na", "name: holds"),
        ("ana@example.com,\x1bAna", "name: holds"),
        (f"ana@example.com,{'n' * 513}", "name: is too long"),
        (f"ana@example.com,Ana,{'v' * 129}", "label: is too long"),
        ("ana@example.com,Ana,,yesterday", "consent_at: must be a time"),
        ("ana@example.com,Ana,,2024-05-01T12:00:00", "consent_at: must be a time with its zone"),
        ("ana@example.com,Ana,,,999.1.1.1", "consent_ip: must be"),
        ('ana@example.com,"Ana"x', "',' expected after '\"'"),
    ],
)
def test_a_bad_row_is_reported_with_its_line_and_the_next_one_read(row: str, said: str) -> None:
    text = f"email,name,vip,consent_at,consent_ip\nfirst@example.com\n{row}\nlast@example.com\n"
    ((line, reason),) = bad(text)
    assert line == 3
    assert said in reason
    assert [one.line for one in rows(text) if isinstance(one, ReaderRow)] == [2, 4]


def test_an_open_quote_says_which_lines_it_swallowed() -> None:
    swallowed = 'email,name\nfirst@example.com\nana@example.com,"Ana\nbo@example.com,Bo\ncy@example.com,Cy\n'
    with pytest.raises(InvalidInput, match=r"^line 3: a quote is opened and never closed: .* \(lines 3 to 5\)"):
        rows(swallowed)
    closed = 'email,name\nana@example.com,"Ana\nbo@example.com,"\ncy@example.com,Cy\n'
    ((line, reason),) = bad(closed)
    assert line == 2
    assert reason.endswith("is a quote left open? (lines 2 to 3)")
    assert [one.line for one in rows(closed) if isinstance(one, ReaderRow)] == [4]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "line 1: must name a column `email`, separated by commas; found nothing"),
        (b"name\nAna\n", "line 1: must name a column `email`, separated by commas; found 'name'"),
        (b"email;name\na@example.com;A\n", "found 'email;name'"),
        (b"email,name,Email\n", "line 1: names the column 'email' twice"),
        ("email,name\na@example.com,A\nb@example.com,López\n".encode("latin-1"), "line 3: is not UTF-8 (byte 0xF3"),
        ("email,name\n".encode("utf-16"), "line 1: is not UTF-8 (byte 0xFF at 1); save the file as CSV UTF-8"),
        (b"email\r" + b"a@example.com\r" * 100_000, "line 1: is longer than"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rows(data)
    assert said in str(caught.value)


def test_what_cannot_be_decoded_is_found_before_the_first_row() -> None:
    data = "email,name\n" + "a@example.com,A\n" * 5000
    reading = read_rows(io.BytesIO(data.encode() + b"b@example.com,L\xf3pez\n"))
    with pytest.raises(InvalidInput, match="line 5002"):
        next(reading)


def test_a_pipe_is_read_as_it_comes() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    reading = read_rows(Pipe(b"email\na@example.com\n\xff@example.com\n"))
    assert isinstance(next(reading), ReaderRow)
    with pytest.raises(InvalidInput, match="line 3"):
        next(reading)
