"""Scores what texts are taken for against labelled texts: `python -m bench.intents FILE.tsv [--wrong]`."""

import argparse
import sys
from collections import Counter
from functools import cache
from pathlib import Path

from router.language import LANGUAGES
from router.rules import DEFAULT_PROGRAM, RuleBook
from tests.reading import tokens, understand


@cache
def book(languages: tuple[str, ...]) -> RuleBook:
    return RuleBook.default(languages)


def intent(text: str, language: str) -> tuple[str, str]:
    spoken = language.partition("-")[0]
    files = tuple(dict.fromkeys(("common", language, spoken, "en")))
    found = understand(text, files)
    if found and found.rule.section == "machine":
        return "none", f"machine:{found.rule.name}"
    if found and found.rule.section == "footer":
        text = text[: tokens(text)[found.first].start]
        found = understand(text, files)
    match = book(tuple(dict.fromkeys((language, "en")))).find(DEFAULT_PROGRAM, text)
    if match.rule:
        return match.rule.intent, match.rule.name
    if found:
        meant = "opt_out" if found.rule.section == "doubtful" else found.rule.section
        return meant, f"phrase:{found.rule.language}/{found.rule.name}"
    return "none", ""


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--wrong", action="store_true")
    arguments.add_argument("--language", default="")
    given = arguments.parse_args()
    rows = [line.split("\t") for line in given.file.read_text(encoding="utf-8").splitlines()[1:]]
    if len(rows[0]) == 2:  # label, text: real texts, none of them an opt-out
        rows = [[row[1], "", "en", "none", ""] for row in rows]
    total: Counter[tuple[str, bool]] = Counter()
    right: Counter[tuple[str, bool]] = Counter()
    false = 0
    for text, _, language, wanted, note in rows:
        if given.language and not language.startswith(given.language):
            continue
        got, rule = intent(text.replace("\\n", "\n"), language)
        debatable = "debatable" in note
        total[wanted, debatable] += 1
        right[wanted, debatable] += got == wanted
        false += got == "opt_out" != wanted
        if got != wanted and given.wrong:
            print(f"{wanted:8} taken for {got:8} {language:6} {text!r} {rule} {'(debatable)' if debatable else ''}")
    for wanted in ("opt_out", "opt_in", "help", "confirm", "none"):
        sure, every = total[wanted, False], total[wanted, False] + total[wanted, True]
        if every:
            hits = right[wanted, False], right[wanted, False] + right[wanted, True]
            print(
                f"{wanted:8} {hits[0]}/{sure} = {hits[0] / max(sure, 1):.1%}, debatable included {hits[1]}/{every} = {hits[1] / every:.1%}"
            )
    others = sum(total.values()) - sum(total["opt_out", d] for d in (True, False))
    print(f"false opt-outs {false}/{others} = {false / max(others, 1):.2%}")


if __name__ == "__main__":
    sys.exit(main())
