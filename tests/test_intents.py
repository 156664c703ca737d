"""How well texts are understood, on labelled texts: `labelled.tsv` with its shares, `examples.tsv` text by text."""

from collections import Counter
from pathlib import Path

import pytest

from bench.intents import Row, read, understood

TEXTS = Path(__file__).parent / "fixtures" / "texts"
LABELLED = list(read(TEXTS / "labelled.tsv"))
EXAMPLES = list(read(TEXTS / "examples.tsv"))
#: Least shares of texts that are understood, of those whose meaning nobody disputes.
WANTED = {"opt_out": 0.98, "opt_in": 0.95, "help": 0.95, "confirm": 0.95}


@pytest.mark.parametrize("intent", WANTED)
def test_what_people_ask_for_is_understood(intent: str) -> None:
    rows = [row for row in LABELLED if row.intent == intent and not row.debatable]
    missed = [row.text for row in rows if understood(row).intent != intent]

    assert len(rows) >= 18
    assert 1 - len(missed) / len(rows) >= WANTED[intent], missed


def test_debatable_opt_outs_are_taken_for_opt_outs() -> None:
    rows = [row for row in LABELLED if row.intent == "opt_out"]
    missed = [row.text for row in rows if understood(row).intent != "opt_out"]

    assert 1 - len(missed) / len(rows) >= 0.95, missed


def test_hardly_a_text_is_taken_for_an_opt_out_that_is_none() -> None:
    rows = [row for row in LABELLED if row.intent != "opt_out"]
    wrong = [row.text for row in rows if understood(row).intent == "opt_out"]

    assert len(wrong) / len(rows) <= 0.005, wrong


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: f"{row.language}: {row.text[:40]!a}")
def test_examples(row: Row) -> None:
    match = understood(row)

    assert match.intent == row.intent, match.name


def test_examples_are_of_many_languages() -> None:
    count = Counter(row.language for row in EXAMPLES if row.intent == "opt_out")

    assert len(count) >= 25
    assert min(count[language] for language in ("en", "fr", "es", "pt", "de", "it", "nl")) >= 20
