"""What texts mean to a program, and that each language's words hold however they are written."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router._core import fold
from router.language import LANGUAGES, Keyword, courtesy, keywords
from router.rules import DEFAULT_PROGRAM, CustomKeyword, KeywordSet, Match, RuleBook, conflicts

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


CASES = st.sampled_from([str.upper, str.lower, str.title, str.casefold, str])
DECORATION = st.text(
    st.one_of(
        st.sampled_from(" \t\n\u00a0\u3000.,!?…\"'“”«»()[]*_~-\u200b\u200d\u2060\ufeff\u00ad\ufe0f\u202e🛑🙏❤✅"),
        st.characters(categories=["Zs", "Ps", "Pe", "Pi", "Pf", "Po", "Pd", "Cf", "So"]).filter(
            lambda ch: fold("a" + ch) == "a"
        ),
    ),
    max_size=6,
)


@given(st.sampled_from(WORDS), CASES, DECORATION, DECORATION, st.booleans(), st.integers(0, 40))
def test_decoration_changes_no_meaning(
    word: tuple[str, str], case: Callable[[str], str], before: str, after: str, invisible: bool, place: int
) -> None:
    language, text = word
    book = SINGLE[language]
    expected = book.find(DEFAULT_PROGRAM, text)
    written = case(text)
    # Some letters have no other case that comes back: ŉ, ΐ. They are nobody's way of writing the word.
    written = written if fold(written) == fold(text) else text
    if invisible:
        written = f"{written[:place]}\u200b{written[place:]}"

    assert book.find(DEFAULT_PROGRAM, f"{before}{written}{after}") == expected


@given(st.sampled_from(WORDS), st.data())
def test_courtesy_changes_no_meaning(word: tuple[str, str], data: st.DataObject) -> None:
    language, text = word
    book = SINGLE[language]
    polite = st.sampled_from([*courtesy(language), *courtesy("en")])
    before, after = data.draw(st.lists(polite, max_size=2)), data.draw(st.lists(polite, max_size=2))
    match = book.find(DEFAULT_PROGRAM, " ".join([*before, text, *after]))

    assert match.rule
    assert match.argument is None
    # Some courtesy words are keywords themselves (OK): then the keyword that comes first is meant.
    if not any(book.find(DEFAULT_PROGRAM, polite).rule for polite in before):
        assert fold(match.rule.keyword).startswith(fold(text)) or fold(text).startswith(fold(match.rule.keyword))


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
