"""The matcher beside what else finds keywords in Python: `python -m bench.matchers [--keywords 10000] [--rounds 7]`.

Each line is a matcher, each column a kind of message: nanoseconds a message, and in brackets that as a multiple of the
`dict` of the same column. All run on the same messages in one process, in turns; the figures are medians of the rounds.

keyroute does all that it does on a server, with every layer on. Of the others each does only its part: it is handed the
text and finds the keywords in it; programs, consent words, bounds of words, accents and phrases would come on top.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from functools import partial

import ahocorasick
import ahocorasick_rs
import flashtext2
import hyperscan
import marisa_trie

from bench.turns import medians
from bench.workload import Kind, Message, keyword_sets, messages, words
from router.rules import RuleBook

#: Looks for each message once. A loop of its own for each matcher, so that none pays for a call that it does not need.
Run = Callable[[Sequence[Message]], None]
#: How many messages are run in one go.
BATCH = 2000
COLUMNS: dict[str, tuple[Kind, ...]] = {
    "own": ("own",),
    "argument": ("argument",),
    "reserved": ("reserved",),
    "chat": ("chat",),
    "mixed": ("own", "reserved", "chat"),
    "long": ("long",),
}


def keyroute(listed: Sequence[str]) -> Run:
    """Ours, with every layer on."""
    find = RuleBook(keyword_sets(listed)).matcher.find

    def run(batch: Sequence[Message]) -> None:
        for text, program in batch:
            find(text, program)

    return run


def first_word_in_dict(listed: Sequence[str]) -> Run:
    """What anybody would write first; finds no keyword of two words."""
    get = {word.casefold(): number for number, word in enumerate(listed)}.get

    def run(batch: Sequence[Message]) -> None:
        for text, _ in batch:
            get(text.strip().casefold().split(None, 1)[0])

    return run


def regular_expression(listed: Sequence[str]) -> Run:
    """One pattern of all keywords, at the beginning of the text."""
    longest_first = sorted(map(re.escape, listed), key=len, reverse=True)
    match = re.compile(rf"\s*({'|'.join(longest_first)})\b", re.IGNORECASE).match

    def run(batch: Sequence[Message]) -> None:
        for text, _ in batch:
            match(text)

    return run


def pyahocorasick(listed: Sequence[str]) -> Run:
    """https://pypi.org/project/pyahocorasick/"""
    automaton = ahocorasick.Automaton()
    for number, word in enumerate(listed):
        automaton.add_word(word.casefold(), number)
    automaton.make_automaton()
    iterate = automaton.iter_long

    def run(batch: Sequence[Message]) -> None:
        for text, _ in batch:
            list(iterate(text.casefold()))

    return run


def aho_corasick_of_rust(listed: Sequence[str]) -> Run:
    """https://pypi.org/project/ahocorasick-rs/"""
    kind = ahocorasick_rs.MatchKind.LeftmostLongest
    find = ahocorasick_rs.AhoCorasick([word.casefold() for word in listed], matchkind=kind).find_matches_as_indexes

    def run(batch: Sequence[Message]) -> None:
        for text, _ in batch:
            find(text.casefold())

    return run


def marisa(listed: Sequence[str]) -> Run:
    """https://pypi.org/project/marisa-trie/: the keywords that the text begins with."""
    prefixes = marisa_trie.Trie([word.casefold() for word in listed]).prefixes

    def run(batch: Sequence[Message]) -> None:
        for text, _ in batch:
            prefixes(text.strip().casefold())

    return run


def flashtext(listed: Sequence[str]) -> Run:
    """https://pypi.org/project/flashtext2/"""
    processor = flashtext2.KeywordProcessor(case_sensitive=False)
    for word in listed:
        processor.add_keyword(word)
    extract = processor.extract_keywords

    def run(batch: Sequence[Message]) -> None:
        for text, _ in batch:
            extract(text)

    return run


def hyperscan_literals(listed: Sequence[str]) -> Run:
    """https://pypi.org/project/hyperscan/: one literal for each keyword."""
    database = hyperscan.Database()
    database.compile(
        expressions=[word.encode() for word in listed],
        ids=list(range(len(listed))),
        elements=len(listed),
        flags=[hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH] * len(listed),
    )
    found: list[int] = []

    def note(number: int, *_: object) -> None:
        found.append(number)

    def run(batch: Sequence[Message]) -> None:
        for text, _ in batch:
            found.clear()
            database.scan(text.encode(), match_event_handler=note)

    return run


MATCHERS: dict[str, Callable[[Sequence[str]], Run]] = {
    "keyroute": keyroute,
    "dict": first_word_in_dict,
    "re": regular_expression,
    "pyahocorasick": pyahocorasick,
    "ahocorasick-rs": aho_corasick_of_rust,
    "marisa-trie": marisa,
    "flashtext2": flashtext,
    "hyperscan": hyperscan_literals,
}


def batches(listed: Sequence[str]) -> dict[str, list[Message]]:
    """The messages of each column."""
    return {column: messages(listed, kinds, BATCH) for column, kinds in COLUMNS.items()}


def compared(names: Sequence[str], listed: Sequence[str], rounds: int) -> dict[str, dict[str, float]]:
    """Nanoseconds a message, by matcher and column: medians of rounds in which the matchers take turns."""
    runs = {name: MATCHERS[name](listed) for name in names}
    figures: dict[str, dict[str, float]] = {name: {} for name in names}
    for column, batch in batches(listed).items():
        taken = medians({name: partial(run, batch) for name, run in runs.items()}, rounds)
        for name in names:
            figures[name][column] = taken[name] / BATCH
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keywords", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=list(MATCHERS), default=list(MATCHERS), metavar="MATCHER")
    chosen = parser.parse_args(arguments)
    names = list(dict.fromkeys(["dict", *chosen.only]))
    figures = compared(names, words(chosen.keywords), chosen.rounds)
    print(f"{chosen.keywords} keywords, ns a message".ljust(34) + "".join(column.rjust(16) for column in COLUMNS))
    for name in names:
        cells = (f"{ns:8.0f} ({ns / figures['dict'][column]:5.2f})" for column, ns in figures[name].items())
        print(name.ljust(34) + "".join(cell.rjust(16) for cell in cells))


if __name__ == "__main__":
    main()
