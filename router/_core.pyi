from collections.abc import Iterable, Sequence
from typing import Any, Literal, final, overload

AddressKind = Literal["phone", "short_code", "name", "user_id", "malformed"]

def fold(text: str) -> str:
    """The form in which texts and keywords are compared: same keyword, same form.

    Case, accents, vowel points, format and control characters are gone, letters and digits of all widths and
    styles are plain, runs of blanks are one space; blanks, punctuation and emoji at both ends are cut off. A text of
    nothing but emoji stays one. What is left is decomposed (NFKD). Folding twice changes nothing more.
    """

def split_words(text: str) -> list[str]:
    """The words and pictures of a text, folded, as phrases are compared with them.

    Blanks and punctuation separate words; a picture, and a letter of a script without blanks, is a word by itself.
    """

@final
class PhraseBook:
    """The phrases of some languages, made ready for reading; never changes.

    `automata` are `router.language.automata.Automaton`s; more than 64 raise ValueError.
    """

    def __new__(cls, automata: Iterable[Any]) -> PhraseBook: ...
    @property
    def rules(self) -> tuple[Any, ...]:
        """The rules of all automata, in their order."""

    @property
    def slots(self) -> dict[str, int]:
        """The place of each language among the automata."""

    def read(self, text: str, languages: Sequence[str]) -> tuple[int, int, int] | None:
        """(rule, start, end) of the phrase that counts in a text; start and end are places in the text.

        Machines and footers come first. Where a message guard matches, nothing else counts, and of what is left,
        nothing that shares a word with a guard; then the sections count in their order, and in a section what begins
        first, then the longest.
        """

@final
class KeywordMatcher:
    """The keywords of many tables (a table: the keyword set of one program) in one trie that never changes.

    `entries` are (keyword, table, rule, how), with tables and rules as numbers from 0 to 2**31 - 1. `how`: False for
    a keyword that is all of a text, True for one that may have an argument behind it, "anywhere" for one that also
    counts inside a text. `courtesy` are (word, table): words that may stand around a keyword without changing what
    the text means. `tables` says of each table its group and the bits of the layers that are on (see
    `router.rules.LAYERS`). What all tables of the group g share has the table -1 - g in `entries` and `courtesy`;
    a table's own keywords go before it. `groups` are (files of `phrases`, words that are no misspelled keyword).
    A keyword that folds to nothing, is longer than 500 characters, or has two meanings in one table raises ValueError.
    """

    def __new__(
        cls,
        entries: Iterable[tuple[str, int, int, bool | str]],
        courtesy: Iterable[tuple[str, int]] = (),
        *,
        tables: Sequence[tuple[int, int]] = (),
        groups: Iterable[tuple[Sequence[str], frozenset[str]]] = (),
        phrases: PhraseBook | None = None,
    ) -> KeywordMatcher: ...
    def __len__(self) -> int:
        """How many keywords are stored; one of many tables counts once, courtesy words do not count."""

    def __sizeof__(self) -> int:
        """The bytes of the trie and the tables, without the phrases."""

    def match(self, text: str, table: int) -> tuple[int, str | None] | None:
        """(rule, None) if the whole text is a keyword, with courtesy words or without them; otherwise
        (rule, argument) if it begins with a keyword that takes an argument: the rest of the text as it was written,
        less the blanks around it; otherwise None. Of several keywords the longest wins. Words end at blanks.
        """

    def find(self, text: str, table: int) -> tuple[int, int, int, int, int] | None:
        """(layer, rule, start, end, argument), or None for a text that means nothing.

        The layer is a place in `router.rules.LAYERS`. `rule` is a place in `PhraseBook.rules` for the layers phrase
        and not_a_person, for all others it is the number given with the keyword. The text from `start` to before
        `end` is what was found; the argument begins at `argument`, -1 if there is none.
        """

class TooManyFieldsError(ValueError):
    """A form with more fields than the caller allows."""

def scan_form(data: bytes, max_fields: int) -> list[tuple[str, str]]:
    """The (name, value) pairs of a form body or query string, in order, with repeats and blank values.

    Bytes that are not UTF-8 become U+FFFD and broken percent-escapes stay as they are, as with
    `urllib.parse.parse_qsl(..., keep_blank_values=True)`. More than `max_fields` pairs raise `TooManyFieldsError`.
    """

@final
class Form:
    """A form body or query string whose fields become strings when they are asked for. Read as by `scan_form`."""

    def __init__(self, data: bytes, max_fields: int) -> None: ...
    @overload
    def get(self, name: str) -> str | None:
        """The value of a field, of a repeated one the last."""
    @overload
    def get(self, name: str, default: str) -> str: ...
    def pairs(self) -> list[tuple[str, str]]:
        """What `scan_form` gives."""
    def joined(self) -> bytes:
        """The names and values of all distinct pairs, sorted by both, with nothing between them, in UTF-8.

        That is what some carriers sign of a form.
        """

@final
class RequestHead:
    """Takes what `httptools.HttpRequestParser` tells of a request's head, in the form that `RawRequest` has it in.

    Header names are lower case; the values of a header that comes twice are joined with ", ". All is read as Latin-1.
    """

    url: bytes
    headers: dict[str, str]
    def __init__(self) -> None: ...
    def on_message_begin(self) -> None: ...
    def on_url(self, part: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...

#: The version of `phonenumbers` whose numbering plans were compiled in.
METADATA_VERSION: str
#: All regions that `normalize` knows, as two letters.
REGIONS: frozenset[str]

class NumberParseError(ValueError):
    """The text is not a phone number; the message says what to write. `reason` is libphonenumber's error type."""

    reason: Literal["invalid_country_code", "not_a_number", "too_short_after_idd", "too_short_nsn", "too_long"]
    def __init__(self, reason: str, message: str) -> None: ...

@final
class PhoneNumber:
    """A phone number as libphonenumber reads it, equal to another with the same `e164`. The repr is masked.

    The labels are of the numbering plans of `METADATA_VERSION`. They are no gates: a new range of numbers is `possible`
    before it is `valid`.
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
    def valid(self) -> bool:
        """Whether a numbering plan has the number."""

    @property
    def possible(self) -> bool:
        """Whether it is as long as numbers of its country are, with or without area code."""

def normalize(raw: str, region: str | None = None) -> PhoneNumber:
    """The phone number in a text, exactly as libphonenumber reads it; raises `NumberParseError`.

    `region` (`US`) is where a number written without country code belongs to. Texts with letters, extensions,
    parameters or other marks than those between digits are read by `phonenumbers` itself (see `is_certain`).
    """

def is_certain(raw: str, region: str | None = None) -> bool:
    """Whether `normalize` knows what a text is, number or not, without asking `phonenumbers`."""

def classify_address(raw: str) -> tuple[AddressKind, str]:
    """(kind, address) of what a carrier gave as sender or recipient; never raises.

    `phone`: E.164 with +. `short_code`: 3 to 6 digits. `user_id`: a WhatsApp user without a number, `US.1349…`.
    `name`: an alphanumeric sender of at most 11 characters. `malformed`: anything else. Blanks around it, the prefixes
    `whatsapp:` and `rcs:`, and 00 before a country code are dropped. A number that no numbering plan knows is still a
    phone.
    """
