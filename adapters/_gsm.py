"""What SMS gateways hand on undecoded: the alphabet of GSM 03.38, data coding schemes, user data headers.

Source: 3GPP TS 23.038 (alphabet, data coding) and 23.040 (user data header), SMPP 3.4 section 5.2.19.
"""

from collections.abc import Iterator, Mapping

from router.types import Part

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_ESCAPE = 0x1B
#: What stands behind an escape.
_EXTENDED = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}
_CHARACTERS = frozenset(_BASIC.replace("\x1b", "")).union(_EXTENDED.values())

#: What octets are in by their data coding, below 16; None is no text. Which Japanese form is meant is for them to tell.
_CODECS: Mapping[int, tuple[str, ...] | None] = {
    1: ("ascii",),
    2: None,
    3: ("iso8859-1",),
    4: None,
    5: ("iso2022_jp_2", "shift_jis", "euc_jp"),
    6: ("iso8859-5",),
    7: ("iso8859-8",),
    8: ("utf-16-be",),
    10: ("iso2022_jp_2", "shift_jis", "euc_jp"),
    13: ("iso2022_jp_2", "euc_jp", "shift_jis"),
    14: ("euc_kr",),
}

#: Elements of a user data header that number the parts of a long text, with a reference of 8 and of 16 bits.
_PART_ELEMENTS = {0x00: 3, 0x08: 4}


def is_gsm(text: str) -> bool:
    """Whether every character of a text is in the alphabet, so that it need not be sent as UTF-16."""
    return _CHARACTERS.issuperset(text)


def gsm_decoded(septets: bytes) -> str:
    """A text that has one septet in each octet. An octet that is none raises `ValueError`."""
    if not septets.isascii():
        raise ValueError("An octet is no septet.")
    characters = []
    rest = iter(septets)
    for septet in rest:
        if septet != _ESCAPE:
            characters.append(_BASIC[septet])
            continue
        # A phone shows the plain character where it does not know the escaped one, and a blank for a bare escape.
        escaped = next(rest, _ESCAPE)
        characters.append(" " if escaped == _ESCAPE else _EXTENDED.get(escaped, _BASIC[escaped]))
    return "".join(characters)


def codecs_of(coding: int, default: tuple[str, ...]) -> tuple[str, ...] | None:
    """What octets of a data coding are in, the likeliest first; None for what is no text.

    `default` is the alphabet that a network takes for its own.
    """
    if coding < 0x10 or coding > 0xFF:
        return _CODECS.get(coding, default)
    if coding < 0x80 or coding >= 0xF0:
        # Bits 2 and 3 are the alphabet; of the last group only bit 2. Bit 5 of the first ones is compression.
        alphabet = coding >> 2 & (0b1 if coding >= 0xF0 else 0b11)
        compressed = coding < 0x80 and coding & 0x20
        return None if compressed else {1: None, 2: ("utf-16-be",)}.get(alphabet, default)
    return ("utf-16-be",) if coding & 0xF0 == 0xE0 else default


def part_of(header: bytes) -> Part | None:
    """Which part of a long text a user data header says it is; None if it says nothing of the kind."""
    for element, content in _elements(header):
        if _PART_ELEMENTS.get(element) != len(content):
            continue
        ref, total, seq = int.from_bytes(content[:-2]), content[-2], content[-1]
        if total > 1 and 1 <= seq <= total:
            return Part(str(ref), total, seq)
    return None


def _elements(header: bytes) -> Iterator[tuple[int, bytes]]:
    """The (identifier, content) pairs of a header, which begins with its own length."""
    place = 1
    while place + 2 <= len(header):
        end = place + 2 + header[place + 1]
        yield header[place], header[place + 2 : end]
        place = end
