"""Forms whose values are octets in any charset, as SMS gateways send them, and the texts and numbers in them."""

import re
from urllib.parse import unquote_to_bytes

from adapters._gsm import gsm_decoded
from router.errors import TooManyFields
from router.ports import MOST_FORM_FIELDS

#: Charsets by the names that gateways give them, less blanks and punctuation. All others are not known.
_CODECS = {
    "utf8": "utf-8",
    **dict.fromkeys(("ascii", "usascii", "iso646us"), "ascii"),
    **dict.fromkeys(("utf16be", "ucs2", "iso10646ucs2", "utf16"), "utf-16-be"),
    "utf16le": "utf-16-le",
    "latin1": "iso8859-1",
    **{f"iso8859{number}": f"iso8859-{number}" for number in (*range(1, 12), *range(13, 17))},
    **{f"{family}{number}": f"cp{number}" for family in ("windows", "cp") for number in range(1250, 1259)},
    "sjis": "shift_jis",
    **{name.replace("_", ""): name for name in ("shift_jis", "iso2022_jp", "euc_jp", "euc_kr")},
    **dict.fromkeys(("gsm", "gsm0338", "gsm7"), "gsm"),
}
_PUNCTUATION = re.compile(r"[^a-z0-9]")
_INTERNATIONAL = re.compile(r"00([0-9]{7,15})")


def octet_fields(data: bytes) -> dict[str, bytes]:
    """The fields of a form or query, of repeated ones the last, with values as octets. Raises `TooManyFields`."""
    if data.count(b"&") >= MOST_FORM_FIELDS:
        raise TooManyFields(f"The form has over {MOST_FORM_FIELDS} fields. No gateway sends so many.")
    pairs = (pair.replace(b"+", b" ").partition(b"=") for pair in data.split(b"&") if pair)
    return {decoded(unquote_to_bytes(name)): unquote_to_bytes(value) for name, _, value in pairs}


def codec_named(charset: str) -> str | None:
    """Our name of a charset by a gateway's, in any case and punctuation; None if it is not known."""
    return _CODECS.get(_PUNCTUATION.sub("", charset.lower()))


def decoded(octets: bytes, *codecs: str) -> str:
    """A text from octets in one of our codecs (UTF-8 if none is given), the likeliest first. It never fails.

    What is in none of them is read as Windows-1252.
    """
    for codec in codecs or ("utf-8",):
        try:
            if codec == "gsm":
                return gsm_decoded(octets)
            # All that can be wrong with pairs of octets is half a surrogate pair, where a long text was cut.
            cut = codec.startswith("utf-16") and len(octets) % 2 == 0
            return octets.decode(codec, "replace" if cut else "strict")
        except ValueError:
            continue
    return octets.decode("cp1252", "replace")


def dialled(number: str) -> str:
    """A number as a gateway writes it, with a plus for `00`; anything else as it is."""
    found = _INTERNATIONAL.fullmatch(number.strip())
    return f"+{found[1]}" if found else number
