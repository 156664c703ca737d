"""Scores what texts are taken for against what they mean.

`python -m bench.intents FILE.tsv [--wrong] [--language fr]`. The file has a header and the columns text, number type,
language, intent, note, where `\\n` in a text is a line break; a note that holds "debatable" is counted apart. A file
of two columns, label and text, is taken for English texts that ask for nothing.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from router.rules import DEFAULT_PROGRAM, Match, RuleBook

INTENTS = ("opt_out", "opt_in", "help", "confirm", "none")


@dataclass(frozen=True)
class Row:
    """One labelled text."""

    text: str
    language: str
    intent: str
    debatable: bool


def read(path: Path) -> Iterator[Row]:
    """The rows of a file."""
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        columns = line.split("\t")
        if len(columns) == 2:
            yield Row(columns[1], "en", "none", False)
        else:
            text, _, language, intent, note = columns
            yield Row(text.replace("\\n", "\n"), language, intent, "debatable" in note)


@cache
def _book(language: str) -> RuleBook:
    return RuleBook.default((language,))


def understood(row: Row) -> Match:
    """What a number of the row's language, and English, makes of its text."""
    return _book(row.language).find(DEFAULT_PROGRAM, row.text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--wrong", action="store_true", help="print the texts that are taken for something else")
    parser.add_argument("--language", default="", help="only rows of this language")
    given = parser.parse_args()
    seen: Counter[tuple[str, str, bool]] = Counter()
    for row in read(given.file):
        if not row.language.startswith(given.language):
            continue
        match = understood(row)
        seen[row.intent, match.intent, row.debatable] += 1
        if match.intent != row.intent and given.wrong:
            note = "debatable" if row.debatable else ""
            print(f"{row.intent:8} as {match.intent:8} {row.language:8} {row.text!r} {match.name or ''} {note}")
    report(seen)


def report(seen: Counter[tuple[str, str, bool]]) -> None:
    """Prints the recall of each intent, without the debatable rows and with them, and the false opt-outs."""
    for intent in INTENTS:
        shares = []
        for debatable in ((False,), (False, True)):
            of = sum(count for (wanted, _, doubt), count in seen.items() if wanted == intent and doubt in debatable)
            right = sum(seen[intent, intent, doubt] for doubt in debatable)
            shares.append(f"{right}/{of} = {right / of:.1%}" if of else "none")
        print(f"{intent:8} {shares[0]:20} with debatable rows {shares[1]}")
    others = sum(count for (wanted, _, _), count in seen.items() if wanted != "opt_out")
    false = sum(count for (wanted, got, _), count in seen.items() if got == "opt_out" != wanted)
    print(f"taken for an opt-out and none: {false} of {others}" + (f" = {false / others:.2%}" if others else ""))


if __name__ == "__main__":
    main()
