"""Forms of octets: read as the standard library reads them, and texts in them that never fail to decode."""

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._octets import _CODECS, codec_named, decoded, dialled, octet_fields
from router.errors import TooManyFields
from router.ports import MOST_FORM_FIELDS


@given(st.binary())
def test_agrees_with_the_standard_library(data: bytes) -> None:
    official = dict(parse_qsl(data.decode("latin-1"), keep_blank_values=True, encoding="latin-1"))

    assert {name: value.decode("latin-1") for name, value in octet_fields(data).items() if name.isascii()} == {
        name: value for name, value in official.items() if name.isascii()
    }


@given(st.dictionaries(st.text(min_size=1), st.binary()))
def test_what_was_written_is_read(fields: dict[str, bytes]) -> None:
    assert octet_fields(urlencode(fields).encode()) == fields


def test_a_form_has_an_end() -> None:
    assert octet_fields(b"&".join([b"a=b"] * MOST_FORM_FIELDS)) == {"a": b"b"}
    with pytest.raises(TooManyFields):
        octet_fields(b"&".join([b"a=b"] * (MOST_FORM_FIELDS + 1)))


@given(st.binary(), st.sampled_from(sorted(set(_CODECS.values()))))
def test_every_octet_is_some_text(octets: bytes, codec: str) -> None:
    decoded(octets, codec).encode()


@given(st.text(st.characters(codec="utf-8")))
def test_texts_come_back(text: str) -> None:
    assert decoded(text.encode()) == text
    assert decoded(text.encode("utf-16-be"), "utf-16-be") == text


@pytest.mark.parametrize(
    ("octets", "codecs", "text"),
    [
        (b"D\xe9sol\xe9 \x80", (), "Désolé €"),
        (b"\x81\x8d", (), "\ufffd\ufffd"),
        (b"\x05", ("gsm", "utf-8"), "é"),
        ("é".encode(), ("gsm", "utf-8"), "é"),
        (b"\xe9", ("gsm", "utf-8"), "é"),
        (b"\xd8\x3d", ("utf-16-be",), "\ufffd"),
        (b"STOP!", ("utf-16-be",), "STOP!"),
    ],
)
def test_what_is_in_no_charset_is_windows_1252(octets: bytes, codecs: tuple[str, ...], text: str) -> None:
    assert decoded(octets, *codecs) == text


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("UTF-8", "utf-8"),
        ("utf8", "utf-8"),
        ("UTF-16BE", "utf-16-be"),
        ("UCS-2", "utf-16-be"),
        ("ISO-10646-UCS-2", "utf-16-be"),
        ("WINDOWS-1252", "cp1252"),
        ("cp1251", "cp1251"),
        ("ISO-8859-1", "iso8859-1"),
        ("iso_8859_15", "iso8859-15"),
        ("LATIN1", "iso8859-1"),
        ("US-ASCII", "ascii"),
        ("Shift_JIS", "shift_jis"),
        ("GSM", "gsm"),
        ("8-BIT", None),
        ("binary", None),
        ("rot13", None),
        ("unicode_escape", None),
        ("\x00", None),
        ("", None),
    ],
)
def test_names_of_charsets(name: str, codec: str | None) -> None:
    assert codec_named(name) == codec


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("00447700900123", "+447700900123"),
        (" 00447700900123 ", "+447700900123"),
        ("+447700900123", "+447700900123"),
        ("447700900123", "447700900123"),
        ("0012345", "0012345"),
        ("00" + "1" * 16, "00" + "1" * 16),
        ("00ABC", "00ABC"),
        ("", ""),
    ],
)
def test_double_zero_is_a_plus(written: str, read: str) -> None:
    assert dialled(written) == read
