"""Phrases: the compiled reader against the plain one of `reading.py`, the pattern language, and what is kept of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router._core import split_words
from router.language import automata, phrases
from router.language.automata import automaton, compiled, keep, phrase_book
from router.language.phrases import PatternError, files, grammar, read_rules
from router.rules import RuleBook
from tests import reading

LANGUAGES = ("common", "en", "fr", "ja")
BOOK = phrase_book(LANGUAGES)
#: What rules of these languages name, and what stands between.
VOCABULARY = sorted({word.removesuffix("~") for name in LANGUAGES for word in automaton(name).words})
BETWEEN = st.sampled_from(
    [" ", " ", " ", "  ", ". ", ", ", "! ", "? ", "\n", "", "-", "’", ' "', "” ", " 🛑 ", "\u200b"]
)
WORD = st.one_of(st.sampled_from(VOCABULARY), st.sampled_from(["x", "12", "9.30", "Étoile", "🎁"]))
SENTENCE = st.lists(st.tuples(WORD, BETWEEN), max_size=12).map(lambda parts: "".join(a + b for a, b in parts))
#: A rule's own pattern, less its signs, is close to a text that it matches.
PATTERNS = st.sampled_from([rule.pattern for name in LANGUAGES for rule in read_rules(name)[1]]).map(
    lambda pattern: " ".join(word.rstrip("~") for word in pattern.split() if word[0].isalpha())[:120]
)
TEXTS = st.one_of(SENTENCE, st.text(max_size=40), st.tuples(SENTENCE, PATTERNS, SENTENCE).map(" ".join))


@given(TEXTS)
def test_the_compiled_reader_finds_what_the_plain_one_finds(text: str) -> None:
    expected = reading.understand(text, LANGUAGES)
    found = BOOK.read(text, LANGUAGES)

    if expected is None:
        assert found is None
    else:
        read = reading.tokens(text)
        assert found
        rule = BOOK.rules[found[0]]
        assert (rule.language, rule.section, rule.name) == (
            expected.rule.language,
            expected.rule.section,
            expected.rule.name,
        )
        assert found[1:] == (read[expected.first].start, read[expected.last - 1].end)


@given(st.one_of(TEXTS, st.text(st.characters(), max_size=40)))
def test_texts_are_split_as_the_plain_reader_splits_them(text: str) -> None:
    assert split_words(text) == reading.words(text)


@given(TEXTS)
def test_no_text_is_passed_over_for_its_words(text: str) -> None:
    """What the matcher skips because no word of it can begin a phrase holds none."""
    book = phrase_book(("common", "en", "fr"))
    found = RuleBook.default(("en", "fr")).find("default", text)
    read = book.read(text, ("common", "en", "fr"))

    if found.rule is None and read is not None:
        assert book.rules[read[0]].section == "footer"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for files of phrases in place of the package's."""
    monkeypatch.setattr(phrases, "FOLDER", tmp_path)
    monkeypatch.setattr(automata, "FOLDER", tmp_path)
    caches = (grammar, files, automaton, automata.source_digest)
    for cached in caches:
        cached.cache_clear()
    return tmp_path


@pytest.fixture(autouse=True)
def _package_again(request: pytest.FixtureRequest) -> object:
    yield
    if "folder" in request.fixturenames:
        for cached in (grammar, files, automaton, automata.source_digest):
            cached.cache_clear()


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(stop", "'(' without ')'. Add it."),
        ("stop)", "')' without '('. Remove it."),
        ("<nothing>", "<nothing> is not among the words of the file before it. Define it."),
        ("stop {0,9}", "write {0,9} with at most 8."),
        ("{2} stop", "nothing to repeat before '{2}'. Put a word there."),
        ("stop <", "'<' cannot be read. Write marks as <?>."),
        ("!!", "'!!' has no letter. Write a word."),
        ("stop?", "it matches without a word. Make a part of it necessary."),
    ],
)
def test_a_pattern_that_cannot_be_read_says_what_to_write(folder: Path, pattern: str, says: str) -> None:
    (folder / "xx.toml").write_text(f"[opt_out]\nrule = {pattern!r}\n")

    with pytest.raises(PatternError) as caught:
        grammar("xx")
    assert str(caught.value) == f"{pattern!r}: {says}"


def test_an_unknown_section_says_what_to_write(folder: Path) -> None:
    (folder / "xx.toml").write_text("[optout]\nrule = 'stop'\n")

    with pytest.raises(PatternError, match=r"xx.toml: unknown section \['optout'\]. Write one of opt_out, doubtful"):
        grammar("xx")


def test_a_rule_without_a_word_that_it_needs_is_refused(folder: Path) -> None:
    (folder / "xx.toml").write_text("[opt_out]\nrule = '^^ . . $$'\n")

    with pytest.raises(ValueError, match="xx/rule: no word is necessary for it"):
        compiled(grammar("xx"))


def test_what_is_kept_is_used_until_the_file_changes(folder: Path) -> None:
    (folder / "xx.toml").write_text("[opt_out]\nrule = 'stop it'\n")
    (folder / "xx.automaton").write_bytes(b"")
    made = compiled(grammar("xx"))
    (folder / "xx.automaton").unlink()
    keep(folder)
    automaton.cache_clear()

    assert automaton("xx") == made
    assert automaton("xx") is not made

    (folder / "xx.toml").write_text("[opt_out]\nother = 'no more'\n")
    for cached in (grammar, automaton, automata.source_digest):
        cached.cache_clear()
    assert [rule.name for rule in automaton("xx").rules] == ["other"]
