from collections.abc import Iterable
from typing import Literal, final

AddressKind = Literal["phone", "short_code", "name", "user_id", "malformed"]

def fold(text: str) -> str:
    """The form in which texts and keywords are compared: same keyword, same form.

    Case, accents, vowel points, format and control characters are gone, letters and digits of all widths and
    styles are plain, runs of blanks are one space; blanks, punctuation and emoji at both ends are cut off. A text of
    nothing but emoji stays one. What is left is decomposed (NFKD). Folding twice changes nothing more.
    """

@final
class KeywordMatcher:
    """The keywords of many tables (a table: the keyword set of one program) in one trie that never changes.

    `entries` are (keyword, table, rule, takes_argument), with tables and rules as numbers from 0 to 2**31 - 1.
    `courtesy` are (word, table): words that may stand around a keyword without changing what the text means.
    A keyword that folds to nothing, or with two meanings in one table, raises ValueError.
    """

    def __new__(
        cls, entries: Iterable[tuple[str, int, int, bool]], courtesy: Iterable[tuple[str, int]] = ()
    ) -> KeywordMatcher: ...
    def __len__(self) -> int:
        """How many keywords are stored; one of many tables counts once, courtesy words do not count."""

    def match(self, text: str, table: int) -> tuple[int, str | None] | None:
        """(rule, None) if the whole text is a keyword, with courtesy words or without them; otherwise
        (rule, argument) if it begins with a keyword that takes an argument: the rest of the text as it was written,
        less the blanks around it; otherwise None. Of several keywords the longest wins. Words end at blanks.
        """

class TooManyFieldsError(ValueError):
    """A form with more fields than the caller allows."""

def scan_form(data: bytes, max_fields: int) -> list[tuple[str, str]]:
    """The (name, value) pairs of a form body or query string, in order, with repeats and blank values.

    Bytes that are not UTF-8 become U+FFFD and broken percent-escapes stay as they are, as with
    `urllib.parse.parse_qsl(..., keep_blank_values=True)`. More than `max_fields` pairs raise `TooManyFieldsError`.
    """

class NumberParseError(ValueError):
    """The text is not a phone number; the message says what to write."""

    reason: Literal["not_a_number", "invalid_country_code", "too_short", "too_long"]
    def __init__(self, reason: str, message: str) -> None: ...

@final
class PhoneNumber:
    """A phone number as libphonenumber reads it, equal to another with the same `e164`.

    `region`, `type`, `valid` and `possible` are worked out each time they are asked for. The repr is masked.
    """

    @property
    def e164(self) -> str: ...
    @property
    def country_code(self) -> int: ...
    @property
    def region(self) -> str | None:
        """Two letters, `001` for numbers of no country, None if no region has the number."""

    @property
    def type(self) -> str:
        """`mobile`, `fixed_line`, `fixed_line_or_mobile`, `toll_free`, `voip`, … or `unknown`."""

    @property
    def valid(self) -> bool: ...
    @property
    def possible(self) -> bool: ...

def normalize(raw: str, region: str | None = None) -> PhoneNumber:
    """The phone number in a text, exactly as libphonenumber reads it; raises `NumberParseError`.

    `region` (`US`) is where a number written without country code belongs to. A number that begins with + and
    stands in E.164 already costs a fraction of a microsecond.
    """

def classify_address(raw: str) -> tuple[AddressKind, str]:
    """(kind, address) of what a carrier gave as sender or recipient; never raises.

    `phone`: E.164 with +. `short_code`: 3 to 6 digits. `user_id`: a WhatsApp user without a number, `US.1349…`.
    `name`: an alphanumeric sender of at most 11 characters. `malformed`: anything else. Blanks around it and the
    prefixes `whatsapp:` and `rcs:` are dropped. A number that no numbering plan knows is still a phone.
    """
