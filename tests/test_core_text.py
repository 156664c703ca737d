"""Folding and keyword matching: by example, against the reference over all of Unicode, and in time."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router._core import KeywordMatcher, fold
from tests import reference
from tests.timing import processor_seconds

#: Every code point, lone surrogates too.
ANYTHING = st.text(st.characters(), max_size=40)
MEBI = 1 << 20


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("STOP", "stop"),
        ("  Stop\t\n", "stop"),
        ("«STOP»", "stop"),
        ("*Stop!!!*", "stop"),
        ("“_stop_”…", "stop"),
        ("stop🛑", "stop"),
        ("STOP 😡😡", "stop"),
        ("ＳＴＯＰ", "stop"),
        ("𝐒𝐓𝐎𝐏", "stop"),
        ("ST\u200bO\u00adP", "stop"),
        ("\ufeff\u200fSTOP\u200f\u00a0", "stop"),
        ("stop\ud83d", "stop"),
        ("opt \u2003\u200b OUT", "opt out"),
        ("Opt-Out", "opt-out"),
        ("opt–out", "opt-out"),
        ("Don’t contact me.", "don't contact me"),
        ("ARRÊT", "arret"),
        ("arre\u0302t", "arret"),
        ("ARRET", "arret"),
        ("Łódź, Ærø, İPTAL, ıptal", "lodz, aero, iptal, iptal"),
        ("STRASSE straße", "strasse strasse"),
        ("ΔΙΑΚΟΠΉΣ διακοπής", "διακοπησ διακοπησ"),
        ("إِلْغَاءٌ", "الغاء"),
        ("تـوقـف", "توقف"),
        ("لغو١١ لغو۱۱", "لغو11 لغو11"),
        ("שָׁלוֹם", "שלום"),
        ("बंद करो", "बंद करो"),
        ("ｶﾞ", "カ\u3099"),
        ("ガ", "カ\u3099"),
        ("거", "\u1100\u1165"),
        ("配信停止", "配信停止"),
        ("🛑", "🛑"),
        ("“🛑!”", "🛑"),
        ("👍🏽", "👍"),
        ("❤️", "❤"),
        ("1️⃣", "1"),
        ("", ""),
        ("?!", ""),
        ("\u200b \u00ad", ""),
    ],
)
def test_texts_that_mean_the_same_have_one_form(text: str, form: str) -> None:
    assert fold(text) == form


@pytest.mark.parametrize("plane", [0, 1, 2, 14, 16])
def test_folding_agrees_with_the_reference_on_every_character(plane: int) -> None:
    for block in range(plane << 8, (plane + 1) << 8):
        text = "".join(chr((block << 8) + i) for i in range(256))
        assert fold(f"a{text}a") == reference.fold(f"a{text}a"), hex(block)


@given(ANYTHING)
@example("\u0345ᾳ")
@example("´stop´ ﷺ ¨")
def test_folding_agrees_with_the_reference(text: str) -> None:
    assert fold(text) == reference.fold(text)


@given(ANYTHING)
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


ENTRIES = [
    ("STOP", 0, 0, False),
    ("ARRÊT", 0, 0, False),
    ("OPT OUT", 0, 1, False),
    ("opt-out", 0, 1, False),
    ("INFO", 0, 2, True),
    ("INFO DESK", 0, 3, True),
    ("退订", 0, 4, False),
    ("🎁", 0, 5, True),
    ("OK", 0, 6, False),
    ("INFO", 1, 7, False),
]
COURTESY = [(word, table) for word in ("please", "por favor", "ok", "thank you") for table in (0, 1)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("STOP", (0, None)),
        (" “Stop”!! ", (0, None)),
        ("arret", (0, None)),
        ("opt  out", (1, None)),
        ("OPT-OUT.", (1, None)),
        ("optout", None),
        ("退订。", (4, None)),
        # courtesy
        ("Stop please!!", (0, None)),
        ("please, STOP", (0, None)),
        ("Please 🙏 stop. Thank you 🙏", (0, None)),
        ("stop, por  favor", (0, None)),
        ("OK stop", (0, None)),
        ("stop por", None),
        ("please", None),
        ("ok ok", (6, None)),
        ("please " * 8 + "stop", (0, None)),
        ("please " * 9 + "stop", None),
        # whole words
        ("INFORMATION", None),
        ("info", (2, None)),
        ("stoplight", None),
        ("stop by later", None),
        ("bus stop", None),
        # arguments
        ("info Pizza  Étoile ", (2, "Pizza  Étoile")),
        ("Info: 50% off!", (2, "50% off!")),
        ("“INFO” \u00a0#12", (2, "#12")),
        ("info desk 7", (3, "7")),
        ("info desktop", (2, "desktop")),
        ("info please", (2, None)),
        ("info please call", (2, "please call")),
        ("please info pizza", None),
        ("info:pizza", None),
        # pictures
        ("🎁", (5, None)),
        ("🎁!", (5, None)),
        ("🎁 red", (5, "red")),
        ("🎁 please", (5, None)),
        ("🎁🎁", None),
        ("🎁 stop", (0, None)),
        ("🎁 info red", (2, "red")),
        # nothing
        ("", None),
        ("?!", None),
        ("\ud800", None),
    ],
)
def test_matching(text: str, found: tuple[int, str | None] | None) -> None:
    assert KeywordMatcher(ENTRIES, COURTESY).match(text, 0) == found
    assert reference.KeywordMatcher(ENTRIES, COURTESY).match(text, 0) == found


def test_a_keyword_means_something_else_in_another_table() -> None:
    matcher = KeywordMatcher(ENTRIES, COURTESY)

    assert matcher.match("info", 1) == (7, None)
    assert matcher.match("info desk", 1) is None
    assert matcher.match("stop", 1) is None
    assert matcher.match("info", 2) is None


def test_a_keyword_of_many_tables_is_stored_once() -> None:
    matcher = KeywordMatcher([("STOP", table, table, False) for table in reversed(range(1000))])

    assert len(matcher) == 1
    assert [matcher.match("stop", table) for table in (-1, 0, 500, 999, 1000)] == [
        *(None, (0, None), (500, None)),
        *((999, None), None),
    ]


def test_courtesy_words_are_not_counted_and_may_be_keywords_too() -> None:
    assert len(KeywordMatcher([("OK", 0, 1, False)], [("ok", 0), ("please", 0)])) == 1
    assert KeywordMatcher([("OK", 0, 1, False)], [("ok", 0)]).match("ok", 0) == (1, None)
    assert KeywordMatcher([]).match("ok", 0) is None


@pytest.mark.parametrize("nothing", ["", "  ", "?!", "\u200b"])
def test_a_keyword_without_anything_to_compare_is_refused(nothing: str) -> None:
    with pytest.raises(ValueError, match="give it a letter, a digit or an emoji"):
        KeywordMatcher([(nothing, 0, 1, False)])
    with pytest.raises(ValueError, match="give it a letter, a digit or an emoji"):
        KeywordMatcher([], [(nothing, 0)])


def test_two_meanings_in_one_table_are_refused() -> None:
    assert len(KeywordMatcher([("ARRÊT", 0, 1, False), ("arret", 0, 1, False)])) == 1
    with pytest.raises(ValueError, match="two meanings in table 0; keep one"):
        KeywordMatcher([("ARRÊT", 0, 1, False), ("arret", 0, 2, False)])
    with pytest.raises(ValueError, match="number the rules from 0"):
        KeywordMatcher([("STOP", 0, -1, False)])


#: Few characters, so that keywords, courtesy words and texts overlap in every way.
SCRAPS = st.sampled_from(
    [*"aAbäβ가🛑❤-!.'", "abababababab", " ", "  ", "\u00a0", "\u200b", "\ufe0f", "\ud800", "½", "ß"]
)
WORDS = st.lists(SCRAPS, min_size=1, max_size=4).map("".join)


@st.composite
def matchers_and_texts(draw: st.DrawFn) -> tuple[KeywordMatcher, reference.KeywordMatcher, str]:
    words = [word for word in draw(st.lists(WORDS, min_size=1, max_size=8)) if fold(word)]
    by_form = {(fold(word), draw(st.integers(0, 1))): word for word in words}
    entries = [(word, table, rule, draw(st.booleans())) for rule, ((_, table), word) in enumerate(by_form.items())]
    courtesy = [(word, draw(st.integers(0, 1))) for word in words if draw(st.booleans())]
    pieces = draw(st.lists(st.one_of(st.sampled_from([*words, " "]), SCRAPS, ANYTHING), max_size=8))
    text = draw(st.sampled_from(["", " "])).join(pieces)
    return KeywordMatcher(entries, courtesy), reference.KeywordMatcher(entries, courtesy), text


@given(matchers_and_texts())
def test_matching_agrees_with_the_reference(case: tuple[KeywordMatcher, reference.KeywordMatcher, str]) -> None:
    matcher, oracle, text = case

    assert [matcher.match(text, table) for table in (0, 1)] == [oracle.match(text, table) for table in (0, 1)]


@given(st.lists(st.tuples(ANYTHING.filter(fold), st.integers(0, 3)), max_size=30), ANYTHING)
def test_every_keyword_is_found_in_its_table(words: list[tuple[str, int]], text: str) -> None:
    rules = {(fold(word), table): rule for rule, (word, table) in enumerate(words)}
    matcher = KeywordMatcher([(form, table, rule, False) for (form, table), rule in rules.items()])

    assert len(matcher) == len({form for form, _ in rules})
    for word, table in words:
        assert matcher.match(word, table) == (rules[fold(word), table], None)
    assert matcher.match(text, 0) == ((rules[fold(text), 0], None) if (fold(text), 0) in rules else None)


@pytest.mark.parametrize(
    "text",
    [
        *("a" * MEBI, "stop" * (MEBI // 4), "STOP" + "!" * MEBI, "!" * MEBI, " " * MEBI + "stop", "🛑" * MEBI),
        *("please " * (MEBI // 7), "ok " * (MEBI // 3), "ok!" * (MEBI // 3), "info " + "a " * (MEBI // 2)),
        *("\u200b" * MEBI, "ê" * MEBI, "करो" * (MEBI // 3), "가" * MEBI, "\ud800" * MEBI, "ok" + " !" * (MEBI // 2)),
    ],
    ids=lambda text: f"{text[:6]!a}",
)
def test_a_mebibyte_takes_50_ms_at_most(text: str) -> None:
    matcher = KeywordMatcher(ENTRIES, COURTESY)

    assert processor_seconds(lambda: matcher.match(text, 0)) <= 0.05
