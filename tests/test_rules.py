"""What texts mean to a program, and that each language's words hold however they are written."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router._core import fold
from router.language import LANGUAGES, Keyword, courtesy, keywords
from router.language.automata import automaton
from router.rules import (
    DEFAULT_PROGRAM,
    CustomKeyword,
    Doubtful,
    KeywordSet,
    Layer,
    Match,
    RuleBook,
    conflicts,
    doubts,
)
from tests.timing import processor_seconds

BOOK = RuleBook(
    [
        KeywordSet(
            "deals",
            ("fr", "en"),
            (
                CustomKeyword("COUPONS", replies={"fr": "Vos coupons", "en": "Your coupons"}),
                CustomKeyword("Coupon"),
                CustomKeyword("JOIN", "opt_in"),
                CustomKeyword("FIN"),
                CustomKeyword("🎁"),
            ),
        ),
        KeywordSet("alerts", ("en", "fr")),
        KeywordSet("avisos", ("pt",), (CustomKeyword("COUPONS"),)),
    ]
)
SINGLE = {language: RuleBook.default((language,)) for language in LANGUAGES}
PRIORITY = ["opt_out", "help", "confirm", "opt_in"]


def reserved(language: str) -> list[Keyword]:
    return [keyword for keyword in keywords(language) if keyword.confidence != "low"]


WORDS = [(language, keyword.text) for language in LANGUAGES for keyword in reserved(language)]


def name(match: Match) -> str | None:
    return match.rule.name if match.rule else None


@pytest.mark.parametrize(
    ("program", "text", "rule", "argument"),
    [
        ("deals", "STOP", "keyword:fr/STOP", None),
        ("alerts", "STOP", "keyword:en/STOP", None),
        ("alerts", "arret", "keyword:fr/ARRÊT", None),
        ("alerts", "Stop please!!", "keyword:en/STOP", None),
        ("alerts", "ARRÊT s’il vous plaît", "keyword:fr/ARRÊT", None),
        ("avisos", "stop, please", "keyword:pt/STOP", None),
        ("avisos", "sair por favor", "keyword:pt/SAIR", None),
        ("alerts", "opt  out", "keyword:en/OPT OUT", None),
        ("alerts", "bus stop", None, None),
        ("alerts", "stop by the store", None, None),
        ("alerts", "yes", "keyword:en/YES", None),
        ("alerts", "oui", "keyword:fr/OUI", None),
        ("alerts", "aide", "keyword:fr/AIDE", None),
        ("alerts", "NO", None, None),
        ("deals", "coupons", "custom:deals/COUPONS", None),
        ("deals", "Coupon, Étoile 5 ", "custom:deals/Coupon", "Étoile 5"),
        ("deals", "coupons please", "custom:deals/COUPONS", None),
        ("deals", "couponsx", None, None),
        ("deals", "🎁 red", "custom:deals/🎁", "red"),
        ("deals", "fin", "custom:deals/FIN", None),
        ("deals", "join", "custom:deals/JOIN", None),
        ("deals", "join us for dinner", None, None),
        ("alerts", "coupons", None, None),
        ("alerts", "", None, None),
    ],
)
def test_texts_find_their_rule(program: str, text: str, rule: str | None, argument: str | None) -> None:
    match = BOOK.find(program, text)

    assert (name(match), match.argument) == (rule, argument)


def test_a_rule_says_what_it_is() -> None:
    listed = BOOK.find("alerts", "arret").rule
    own = BOOK.find("deals", "coupons 5").rule

    assert listed
    assert own
    assert (listed.intent, listed.keyword, listed.language, listed.replies) == ("opt_out", "ARRÊT", "fr", {})
    assert (own.intent, own.keyword, own.language) == ("custom", "COUPONS", None)
    assert own.replies == {"fr": "Vos coupons", "en": "Your coupons"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reserved_word_has_the_first_of_its_intents(language: str) -> None:
    for keyword in reserved(language):
        meant = {other.intent for other in reserved(language) if fold(other.text) == fold(keyword.text)}
        rule = SINGLE[language].find(DEFAULT_PROGRAM, keyword.text).rule
        assert rule
        assert (rule.language, rule.intent) == (language, min(meant, key=PRIORITY.index))


def test_stop_works_in_every_language() -> None:
    rules = [SINGLE[language].find(DEFAULT_PROGRAM, "Stop.").rule for language in LANGUAGES]

    assert {rule and rule.intent for rule in rules} == {"opt_out"}


def test_a_word_of_two_languages_has_the_first_of_its_intents_and_then_the_first_language() -> None:
    book = RuleBook.default(("nl", "pl", "en"))  # TAK is yes in Polish only, STOP is in all three

    assert name(book.find(DEFAULT_PROGRAM, "stop")) == "keyword:nl/STOP"
    assert name(book.find(DEFAULT_PROGRAM, "tak")) == "keyword:pl/TAK"
    everything = RuleBook.default(LANGUAGES)
    for language, text in WORDS:
        together, alone = (found.find(DEFAULT_PROGRAM, text).rule for found in (everything, SINGLE[language]))
        assert together
        assert alone
        assert PRIORITY.index(together.intent) <= PRIORITY.index(alone.intent)


@pytest.mark.parametrize(
    ("text", "layer", "found", "span"),
    [
        ("STOP", "keyword", "keyword:en/STOP", "STOP"),
        ("Stop please!!", "courtesy", "keyword:en/STOP", "Stop"),
        ("any COUPONS left?", "inside", "custom:shop/COUPONS", "COUPONS"),
        ("order 12345", "first_word", "custom:shop/ORDER", "order"),
        ("please take me off your list, thanks", "phrase", "phrase:en/off-list", "take me off your list"),
        ("Loved “see you”", "not_a_person", "not-a-person:common/reaction", "Loved"),
        ("ЅТОР", "lookalike", "keyword:en/STOP (lookalike)", "ЅТОР"),
        ("S.T.O.P.", "spelled_out", "keyword:en/STOP (spelled_out)", "S.T.O.P"),
        ("please s t o p", "spelled_out", "keyword:en/STOP (spelled_out)", "s t o p"),
        ("st op", "spelled_out", "keyword:en/STOP (spelled_out)", "st op"),
        ("STOPSTOP", "repeated", "keyword:en/STOP (repeated)", "STOPSTOP"),
        ("STPO", "misspelling", "keyword:en/STOP (misspelling)", "STPO"),
        ("stoip", "misspelling", "keyword:en/STOP (misspelling)", "stoip"),
        ("stoo, please", "misspelling", "keyword:en/STOP (misspelling)", "stoo"),
        ("ARR?T", "misspelling", "keyword:fr/ARRÊT (misspelling)", "ARR?T"),
        ("ARRÃŠT", "garbled", "keyword:fr/ARRÊT (garbled)", "ARRÃŠT"),
    ],
)
def test_each_layer_finds_its_texts_and_can_be_turned_off(text: str, layer: Layer, found: str, span: str) -> None:
    custom = (CustomKeyword("COUPONS", anywhere=True), CustomKeyword("ORDER"))
    every = RuleBook([KeywordSet("shop", ("en", "fr"), custom)])
    without = RuleBook([KeywordSet("shop", ("en", "fr"), custom, layers_off=frozenset({layer}))])
    explained = every.explain("shop", text)

    assert explained
    assert (explained.match.layer, explained.match.name) == (layer, found)
    assert text[explained.start : explained.end] == span
    assert explained.folded == fold(span)
    assert (without.find("shop", text).layer == layer) == (layer == "keyword")


@pytest.mark.parametrize("text", ["wrong number", "STPO"])
def test_a_program_says_what_a_doubtful_text_is(text: str) -> None:
    doubts: list[Doubtful] = ["opt_out", "ask", "leave"]
    book = RuleBook([KeywordSet(doubtful, ("en",), doubtful=doubtful) for doubtful in doubts])
    found = [book.find(doubtful, text) for doubtful in doubts]

    assert [(match.intent, match.asks) for match in found] == [("opt_out", False), ("none", True), ("none", False)]
    assert {match.name for match in found} == {found[0].name}
    assert book.find("leave", "STOP").intent == "opt_out"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("what deals are there", "DEALS"),
        ("gift card", "gift card"),
        ("a (gift  card)?", "gift card"),
        ("my gift, card", None),
        ("undeals dealsy", None),
        ("hi all 🎁🎁", "🎁"),
        ("hi🎁", "🎁"),
        ("hi there", None),
        ("", None),
    ],
)
def test_a_keyword_that_counts_anywhere_is_found_at_the_bounds_of_words(text: str, found: str | None) -> None:
    words = ("DEALS", "gift card", "🎁")
    book = RuleBook([KeywordSet("shop", ("en",), tuple(CustomKeyword(word, anywhere=True) for word in words))])
    rule = book.find("shop", text).rule

    assert (rule and rule.keyword) == found


def test_words_with_two_meanings_are_doubted() -> None:
    found = list(doubts(KeywordSet("shop", ("en", "es", "fr"), (CustomKeyword("LOPETA"), CustomKeyword("DEALS")))))

    assert ("LOPETA", "is how people opt out in fi.") in [(doubt.keyword, doubt.message) for doubt in found]
    assert (None, "SI means confirm in es, and in fr “if”.") in [(doubt.keyword, doubt.message) for doubt in found]
    assert all(doubt.remedy.endswith(".") for doubt in found)
    assert not any(doubt.keyword == "DEALS" for doubt in found)
    assert list(doubts(KeywordSet("shop", ("en",)))) == []


CASES: st.SearchStrategy[Callable[[str], str]] = st.sampled_from([str.upper, str.lower, str.title, str.casefold, str])
DECORATION = st.text(
    st.one_of(
        st.sampled_from(" \t\n\u00a0\u3000.,!?…\"'“”«»()[]*_~-\u200b\u200d\u2060\ufeff\u00ad\ufe0f\u202e🛑🙏❤✅"),
        st.characters(categories=["Zs", "Ps", "Pe", "Pi", "Pf", "Po", "Pd", "Cf", "So"]).filter(
            lambda ch: fold("a" + ch) == "a"
        ),
    ),
    max_size=6,
)


INVISIBLE = st.sampled_from("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u202e\ufe0f")
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


@st.composite
def written(draw: st.DrawFn, word: str) -> str:
    """A word as somebody may write it: in any case, full-width, with characters in it that nobody sees."""
    cased = draw(CASES)(word)
    # Some letters have no other case that comes back: ŉ, ΐ. They are nobody's way of writing the word.
    found = cased if fold(cased) == fold(word) else word
    if draw(st.booleans()):
        found = found.translate(FULL_WIDTH)
    for place in draw(st.lists(st.integers(0, 40), max_size=3)):
        found = f"{found[:place]}{draw(INVISIBLE)}{found[place:]}"
    return found


@st.composite
def polite_words(draw: st.DrawFn, language: str) -> list[str]:
    """Up to three courtesy words of the language and of English that are no keywords themselves."""
    words = [*courtesy(language), *courtesy("en")]
    plain = [word for word in words if SINGLE[language].find(DEFAULT_PROGRAM, word).rule is None]
    return [draw(written(word)) for word in draw(st.lists(st.sampled_from(plain), max_size=3))]


@given(st.sampled_from(WORDS), st.data())
def test_a_reserved_word_keeps_its_intent_however_it_is_decorated(word: tuple[str, str], data: st.DataObject) -> None:
    language, text = word
    expected = SINGLE[language].find(DEFAULT_PROGRAM, text)
    before, after = (data.draw(polite_words(language)) for _ in range(2))
    parts = [*before, data.draw(written(text)), *after]
    gaps = [data.draw(DECORATION) for _ in range(len(parts) + 1)]
    inner = [gap if any(map(str.isspace, gap)) else f"{gap} " for gap in gaps[1:-1]]
    decorated = "".join(gap + part for gap, part in zip([gaps[0], *inner], parts, strict=True)) + gaps[-1]
    found = SINGLE[language].find(DEFAULT_PROGRAM, decorated)

    assert found.intent == expected.intent
    assert found.argument is None
    if not (before or after):
        assert found == expected


#: What plain texts are made of that some layer listens to.
PIECES = st.one_of(
    st.sampled_from(sorted({word for word in automaton("en").words + automaton("fr").words if word.isascii()})),
    st.sampled_from([word for _, word in WORDS if word.isascii()]),
    st.sampled_from([word for word in (*courtesy("en"), *courtesy("fr")) if word.isascii()]),
    st.sampled_from(["deals", "gift card", "s", "t", "o", "p", "st", "stopp", "12", "nonexistentword", "\x00"]),
)
SEPARATORS = st.sampled_from([" ", " ", " ", "  ", ". ", "! ", "?", "? ", "\n", '"', "'", "-", ".", ""])
PLAIN_TEXTS = st.lists(st.tuples(PIECES, SEPARATORS), max_size=7).map(lambda parts: "".join(a + b for a, b in parts))
OWN_WORDS = (CustomKeyword("deals"), CustomKeyword("gift card", anywhere=True), CustomKeyword("s"))
BILINGUAL = RuleBook([KeywordSet(DEFAULT_PROGRAM, ("en", "fr"), OWN_WORDS)])


@given(PLAIN_TEXTS.filter(lambda text: len(text) < 60))
@example("immediatement QUIT QUIT")  # a courtesy too long for a key
def test_a_plain_text_means_the_same_as_with_a_mark_that_nobody_sees(text: str) -> None:
    """ASCII is read by code of its own, which must agree with that for all characters."""
    plain = BILINGUAL.explain(DEFAULT_PROGRAM, text)
    marked = BILINGUAL.explain(DEFAULT_PROGRAM, "\u0301" + text)

    if plain is None or marked is None:
        assert plain == marked
    else:
        assert (plain.match, plain.end, plain.folded) == (marked.match, marked.end - 1, marked.folded)


@pytest.mark.parametrize(
    "unit",
    [
        *("stop ", "please ", "don't stop ", "not ", "i do not want ", "STOPSTOP", "S T O P ", "a", "?", "9.", '" '),
        *("Liked “stop” ", "sto", "thanks\n", "é ", "🛑", "\u200b", "stор ", "退订", "إيقاف ", "ARRÃŠT ", "\ud800"),
    ],
)
def test_a_mebibyte_takes_50_ms_at_most(unit: str) -> None:
    text = unit * ((1 << 20) // len(unit.encode("utf-8", "surrogatepass")))

    assert processor_seconds(lambda: BILINGUAL.find(DEFAULT_PROGRAM, text)) <= 0.05


@given(st.text(st.characters(), max_size=60))
def test_no_text_raises(text: str) -> None:
    for program in ("deals", "alerts", "avisos"):
        BOOK.find(program, text)


@pytest.mark.parametrize(
    ("languages", "custom", "found"),
    [
        (("en",), [CustomKeyword("Stop!")], [("Stop!", "keyword:en/STOP")]),
        (("en", "fr"), [CustomKeyword("arret"), CustomKeyword("DEAL")], [("arret", "keyword:fr/ARRÊT")]),
        (("en",), [CustomKeyword("ARRÊT")], []),
        (("en",), [CustomKeyword("STOPLIGHT"), CustomKeyword("HELPER"), CustomKeyword("WEEKEND")], []),
        (("en",), [CustomKeyword("join", "opt_in")], []),
        (("en",), [CustomKeyword("join", "opt_out")], [("join", "keyword:en/JOIN")]),
        (("en",), [CustomKeyword("NO")], []),
    ],
)
def test_a_custom_keyword_cannot_take_a_reserved_word(
    languages: tuple[str, ...], custom: list[CustomKeyword], found: list[tuple[str, str]]
) -> None:
    keyword_set = KeywordSet("deals", languages, tuple(custom))

    assert [(conflict.keyword, conflict.reserved.name) for conflict in conflicts(keyword_set)] == found
    assert all(conflict.remedy.endswith(".") for conflict in conflicts(keyword_set))
    if found:
        with pytest.raises(ValueError, match=r"program deals: .* is reserved: .* Choose another word"):
            RuleBook([keyword_set])
    else:
        RuleBook([keyword_set])


def test_a_custom_keyword_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="two meanings"):
        RuleBook([KeywordSet("deals", ("en",), (CustomKeyword("DEAL"), CustomKeyword("deal!")))])


@pytest.mark.parametrize(
    ("tag", "word"),
    [("fr-CA", "ARRÊT"), ("fr-BE", "ARRÊT"), ("pt", "SAIR"), ("pt-AO", "SAIR"), ("zh", "退订"), ("zh-TW", "退訂")],
)
def test_a_region_or_a_bare_language_finds_its_words(tag: str, word: str) -> None:
    found = RuleBook.default((tag,)).find(DEFAULT_PROGRAM, word).rule

    assert found
    assert (found.intent, found.language, found.name) == ("opt_out", tag, f"keyword:{tag}/{word}")


def test_an_unknown_language_says_what_to_write() -> None:
    with pytest.raises(KeyError, match="'tlh'; write one of en, fr, "):
        keywords("tlh")
    with pytest.raises(KeyError):
        RuleBook.default(("en", "tlh"))
    assert LANGUAGES[0] == "en"
    assert all(courtesy(language) for language in LANGUAGES)
