"""The contract of the compiled core, written to be read: plain, slow, and the oracle of its property tests."""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from urllib.parse import parse_qsl

import phonenumbers

#: Marks that make no other word of a word, and letters without a shape of their own.
DROPPED = (
    *range(0x0300, 0x0370),  # accents
    *range(0x0483, 0x048A),  # Cyrillic
    *(*range(0x0591, 0x05BE), 0x05BF, 0x05C1, 0x05C2, 0x05C4, 0x05C5, 0x05C7),  # Hebrew points
    *(*range(0x0610, 0x061B), 0x0640, *range(0x064B, 0x0660), 0x0670),  # Arabic vowels, tatweel
    *(*range(0x06D6, 0x06DD), *range(0x06DF, 0x06E5), 0x06E7, 0x06E8, *range(0x06EA, 0x06EE)),
    *(*range(0x08D3, 0x08E2), *range(0x08E3, 0x0900)),
    *(0x115F, 0x1160, 0x3164, 0xFFA0, 0x17B4, 0x17B5),  # fillers
    *range(0x180B, 0x1810),  # Mongolian selectors
    *(*range(0x1AB0, 0x1B00), *range(0x1DC0, 0x1E00), *range(0x20D0, 0x2100), *range(0xFE20, 0xFE30)),  # more accents
    *(*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)),  # variation selectors
    *range(0x1F3FB, 0x1F400),  # skin tones
)
#: What Unicode keeps apart and keyboards do not: a letter, then what it counts as.
SAME = "ıi łl Łl đd Đd øo Øo ħh Ħh ŧt Ŧt æae Æae œoe Œoe کك یي ىي ‘' ’' ‛' ′' ʼ' `' ´' ‐- ‑- ‒- –- —- ―- −- ﹘-"
CHANGES = dict.fromkeys(DROPPED) | {ord(pair[0]): pair[1:] for pair in SAME.split()}
MOST_COURTESY = 8


def is_space(ch: str) -> bool:
    return ch.isspace()


def is_punctuation(ch: str) -> bool:
    return unicodedata.category(ch) in ("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sc", "Sk", "Sm")


def is_emoji(ch: str) -> bool:
    return unicodedata.category(ch) in ("So", "Cn", "Co")


def is_dropped(ch: str) -> bool:
    return unicodedata.category(ch) in ("Cc", "Cf", "Cs") and not is_space(ch)


def is_blank(ch: str) -> bool:
    return is_space(ch) or is_punctuation(ch)


def is_edge(ch: str) -> bool:
    return is_blank(ch) or is_emoji(ch)


def fold_character(ch: str) -> str:
    if is_space(ch):
        return " "
    decomposed = unicodedata.normalize("NFKD", ch.translate(CHANGES))
    if " " in decomposed:
        return ch
    plain = unicodedata.normalize("NFKD", decomposed.translate(CHANGES).casefold()).translate(CHANGES)
    return "".join(str(unicodedata.decimal(c, c)) for c in plain if not is_dropped(c))


def trim(text: str, cut: Callable[[str], bool]) -> str:
    while text and cut(text[0]):
        text = text[1:]
    while text and cut(text[-1]):
        text = text[:-1]
    return text


def fold_inside(text: str) -> str:
    """Folded, with both ends as they are but for blanks."""
    return " ".join("".join(map(fold_character, text)).split())


def fold(text: str) -> str:
    inside = fold_inside(text)
    return trim(inside, is_edge) or trim(inside, is_blank)


def is_picture(form: str) -> bool:
    return all(map(is_edge, form))


def longest(words: Sequence[str], forms: Collection[str]) -> tuple[str, int]:
    """The longest form that the first words have, and how many words that takes; ("", 0) if none has."""
    best = ("", 0)
    for count in range(1, len(words) + 1):
        form = fold(" ".join(words[:count]))
        if form in forms and len(form) > len(best[0]):
            best = (form, count)
    return best


def ends_message(words: Sequence[str], polite: Collection[str], cut: Callable[[str], bool]) -> bool:
    """Whether nothing but decoration, or nothing but courtesy words, is left."""
    if not trim(fold_inside(" ".join(words)), cut):
        return True
    for courtesy_words in range(MOST_COURTESY + 1):
        if not trim(fold_inside(" ".join(words)), is_edge):
            return courtesy_words > 0
        _, count = longest(words, polite)
        if not count:
            return False
        words = words[count:]
    return False


class KeywordMatcher:
    def __init__(self, entries: Iterable[tuple[str, int, int, bool]], courtesy: Iterable[tuple[str, int]] = ()) -> None:
        self.rules: dict[int, dict[str, tuple[int, bool]]] = {}
        self.polite: dict[int, set[str]] = {}
        for keyword, table, rule, takes_argument in entries:
            self.rules.setdefault(table, {})[fold(keyword)] = (rule, takes_argument)
        for word, table in courtesy:
            self.polite.setdefault(table, set()).add(fold(word))

    def match(self, text: str, table: int) -> tuple[int, str | None] | None:
        rules = self.rules.get(table, {})
        polite = {word for word in self.polite.get(table, ()) if not is_picture(word)}
        words = text.split()
        argument = None
        for courtesy_words in range(MOST_COURTESY + 1):
            for picture, cut in ((True, is_blank), (False, is_edge)):
                readable = {form: meant for form, meant in rules.items() if is_picture(form) == picture}
                form, count = longest(words, readable)
                if count and ends_message(words[count:], polite, cut):
                    return rules[form][0], None
                if courtesy_words == 0:
                    argument = self.argument(text, words, readable) or argument
            _, count = longest(words, polite)
            if not count:
                break
            words = words[count:]
        return argument

    @staticmethod
    def argument(
        text: str, words: Sequence[str], rules: Mapping[str, tuple[int, bool]]
    ) -> tuple[int, str | None] | None:
        form, count = longest(words, {form for form, (_, takes_argument) in rules.items() if takes_argument})
        return (rules[form][0], text.split(None, count)[-1].strip()) if count else None


def scan_form(data: bytes) -> list[tuple[str, str]]:
    return parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True, errors="replace")


#: The reasons of `NumberParseError` by the error types of libphonenumber.
REASONS = ("invalid_country_code", "not_a_number", "too_short_after_idd", "too_short_nsn", "too_long")


#: E.164, country code, region, type, valid, possible.
Described = tuple[str, int, str | None, str, bool, bool]


def normalize(raw: str, region: str | None) -> Described | str:
    """What libphonenumber says of a number, or the reason why it is not one."""
    try:
        number = phonenumbers.parse(raw, region)
    except phonenumbers.NumberParseException as error:
        return REASONS[error.error_type]
    kind = phonenumbers.number_type(number)
    return (
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164),
        number.country_code or 0,
        phonenumbers.region_code_for_number(number),
        phonenumbers.PhoneNumberType.to_string(kind).lower(),
        phonenumbers.is_valid_number(number),
        phonenumbers.is_possible_number(number),
    )
