"""The alphabet of GSM 03.38, with another reader of it as the witness; data codings; headers of long texts."""

import gsm0338
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._gsm import codecs_of, gsm_decoded, is_gsm, part_of
from router.types import Part

OFFICIAL = gsm0338.Codec()
EXTENDED = b"\x0a\x14()/<=>@e"
#: Septets as phones send them: an escape stands only before what it can escape.
SEPTETS = st.lists(
    st.sampled_from([bytes([septet]) for septet in range(128) if septet != 0x1B])
    | st.sampled_from([b"\x1b" + bytes([septet]) for septet in EXTENDED])
).map(b"".join)


@given(SEPTETS)
def test_agrees_with_another_reader(septets: bytes) -> None:
    text = OFFICIAL.decode(septets)[0]

    assert gsm_decoded(septets) == text
    assert is_gsm(text)


# An escape is a septet, but no character that a phone shows: the other library lets it through.
@given(st.text().filter(lambda text: "\x1b" not in text))
def test_agrees_on_what_can_be_sent(text: str) -> None:
    try:
        OFFICIAL.encode(text)
        official = True
    except UnicodeEncodeError:
        official = False

    assert is_gsm(text) == official


@pytest.mark.parametrize(("septets", "text"), [(b"a\x1b", "a "), (b"\x1b\x1ba", " a"), (b"\x1bA\x1b\x00", "A@")])
def test_what_no_phone_should_send_is_read_as_phones_do(septets: bytes, text: str) -> None:
    assert gsm_decoded(septets) == text


@pytest.mark.parametrize("octets", [b"\x80", b"a\xe9", b"\x1b\xff"])
def test_octets_that_are_no_septets_are_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match="septet"):
        gsm_decoded(octets)


@pytest.mark.parametrize(
    ("codings", "codecs"),
    [
        ((0, 9, 11, 15, 16, 17, 0x40, 0x80, 0xBF, 0xC0, 0xD0, 0xDF, 240, 241, 243, 248), ("default",)),
        ((2, 4, 20, 0x14, 0x20, 0x3F, 244, 247, 252), None),
        ((8, 24, 25, 0x48, 0xE0, 0xEF), ("utf-16-be",)),
        ((1,), ("ascii",)),
        ((3,), ("iso8859-1",)),
        ((999,), ("default",)),
    ],
)
def test_data_codings(codings: tuple[int, ...], codecs: tuple[str, ...] | None) -> None:
    assert {coding: codecs_of(coding, ("default",)) for coding in codings} == dict.fromkeys(codings, codecs)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("0500032a0201", Part("42", 2, 1)),
        ("06080401020302", Part("258", 3, 2)),
        ("0b0504158115810003ff0402", Part("255", 4, 2)),
        ("0a0003ff0401050415811581", Part("255", 4, 1)),
        ("", None),
        ("00", None),
        ("05", None),
        ("0500", None),
        ("0500032a02", None),
        ("0500032a0203", None),
        ("0500032a0200", None),
        ("0500032a0101", None),
        ("06050415811581", None),
        ("ffffffff", None),
    ],
)
def test_parts_of_long_texts(header: str, part: Part | None) -> None:
    assert part_of(bytes.fromhex(header)) == part


@given(st.binary(max_size=20))
def test_no_header_is_too_broken(header: bytes) -> None:
    part = part_of(header)

    assert part is None or 1 <= part.seq <= part.total
