"""How texts are read for phrases, written to be read: plain, slow, and the oracle of the compiled reader."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from router.language.phrases import (
    ANY,
    BREAK,
    EMOJI,
    END,
    NUMBER,
    QUESTION,
    QUOTE,
    START,
    Grammar,
    Rule,
    grammar,
    read_rules,
)
from tests.reference import fold_character, is_dropped, is_emoji, is_punctuation, is_space

LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
QUOTES = '"“”„‟«»「」『』〝〞＂'
ENDERS = ".!?;;。؟।"  # after folding: the second semicolon is the Greek question mark
#: Han, kana, Thai, Lao, Burmese, Khmer: every letter is a word.
WITHOUT_BLANKS = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0x2FDF),
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3031, 0x30FF),
    (0x3400, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


@dataclass(frozen=True)
class Token:
    """A word, a picture or a mark, and where it stands in the text: before `end`, from `start`."""

    kind: str  # "word", "emoji", or one of the marks of phrases.py
    text: str
    start: int
    end: int

    @property
    def is_word(self) -> bool:
        return self.kind == "word"


def alone(ch: str) -> bool:
    return any(first <= ord(ch) <= last for first, last in WITHOUT_BLANKS)


def spells(raw: str) -> bool:
    ch = fold_character(raw)[:1]
    return bool(ch) and not (is_space(ch) or is_punctuation(ch) or is_emoji(ch))


def tokens(text: str) -> list[Token]:
    """The words and marks of a text, between `START` and `END`."""
    found = [Token(START, "", 0, 0)]
    open_word = False

    def mark(kind: str, at: int) -> None:
        if kind in (BREAK, QUESTION) and found[-1].kind in (BREAK, QUESTION):
            if kind == QUESTION:
                found[-1] = Token(QUESTION, "", found[-1].start, at + 1)
        elif not (kind == BREAK and found[-1].kind == START):
            found.append(Token(kind, "", at, at + 1))

    for at, raw in enumerate(text):
        if raw in LINE_ENDS:
            open_word = False
            mark(BREAK, at)
            continue
        if raw in QUOTES:
            open_word = False
            mark(QUOTE, at)
            continue
        for ch in fold_character(raw):
            if is_space(ch):
                open_word = False
            elif is_punctuation(ch):
                open_word = False
                following = text[at + 1 : at + 2]
                if ch in ENDERS and not (ch == "." and following and spells(following)):
                    mark(QUESTION if ch in "?؟" else BREAK, at)
            elif is_emoji(ch):
                open_word = False
                found.append(Token("emoji", ch, at, at + 1))
            elif not is_dropped(ch):
                if open_word and not alone(ch):
                    found[-1] = Token("word", found[-1].text + ch, found[-1].start, at + 1)
                else:
                    found.append(Token("word", ch, at, at + 1))
                open_word = not alone(ch)
    if found[-1].kind == BREAK:
        found.pop()
    found.append(Token(END, "", len(text), len(text)))
    return found


def words(text: str) -> list[str]:
    return [token.text for token in tokens(text) if token.text]


def fits(symbol: str, token: Token) -> bool:
    if token.kind == "emoji":
        return symbol in (EMOJI, token.text)
    if not token.is_word:
        return symbol == token.kind
    if symbol == NUMBER:
        return token.text.isdecimal()
    return symbol in (ANY, token.text) or (symbol.endswith("~") and token.text.startswith(symbol[:-1]))


@dataclass(frozen=True)
class Span:
    """Where a rule matched: tokens from `first` to before `last`, marks at both ends left out."""

    rule: Rule
    first: int
    last: int


def spans(read: Sequence[Token], automaton: Grammar) -> Iterator[Span]:
    """Every match of every rule, from every token on."""
    for first in range(len(read)):
        states = {0}
        for last in range(first, len(read)):
            token = read[last]
            following = {
                to
                for state in states
                for symbols, to in automaton.steps[state]
                if any(fits(symbol, token) for symbol in symbols)
            }
            if not following and token.kind == QUOTE and last > first:
                continue
            states = following
            if not states:
                break
            for state in states:
                for rule in automaton.accepts.get(state, ()):
                    yield trimmed(rule, read, first, last + 1)


def trimmed(rule: Rule, read: Sequence[Token], first: int, last: int) -> Span:
    while first < last - 1 and not (read[first].is_word or read[first].kind == "emoji"):
        first += 1
    while last > first + 1 and not (read[last - 1].is_word or read[last - 1].kind == "emoji"):
        last -= 1
    return Span(rule, first, last)


def rules_order(rule: Rule) -> int:
    return read_rules(rule.language)[1].index(rule)


ORDER = ("opt_out", "doubtful", "help", "confirm", "opt_in")


def understand(text: str, languages: Sequence[str]) -> Span | None:
    """The phrase of a text that counts: machine and footer included, None if there is none."""
    read = tokens(text)
    found = [
        span
        for language in languages
        for span in sorted(spans(read, grammar(language)), key=lambda span: rules_order(span.rule))
    ]
    for section in ("machine", "footer"):
        hits = [span for span in found if span.rule.section == section]
        if hits:
            return min(hits, key=lambda span: (span.first, -span.last))
    if any(span.rule.section == "message_guard" for span in found):
        return None
    guards = [span for span in found if span.rule.section == "guard"]
    for section in ORDER:
        hits = [
            span
            for span in found
            if span.rule.section == section
            and not any(guard.first < span.last and span.first < guard.last for guard in guards)
        ]
        if hits:
            return min(hits, key=lambda span: (span.first, -span.last))
    return None
