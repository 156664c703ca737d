"""The matcher beside what else finds keywords in Python: `python -m bench.matchers [--keywords 10000] [--rounds 7]`.

Each line is a matcher, each column a kind of message: nanoseconds a message, and in brackets that as a multiple of the
`dict` of the same column. All run on the same messages in one process, in turns; the figures are medians of the rounds.

keyroute does all that it does on a server, with every layer on. Of the others each does only its part: it is handed the
text in lower case and finds what stands in it; programs, consent words, word bounds, accents and phrases would come on top.
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import ahocorasick
import ahocorasick_rs
import flashtext2
import hyperscan
import marisa_trie

from bench.workload import Kind, Message, keyword_sets, messages, words
from router.rules import RuleBook

#: A text, the number of its program → whatever was found.
Find = Callable[[str, int], Any]
#: Of messages that are run in one go.
BATCH = 2000
COLUMNS: dict[str, tuple[Kind, ...]] = {
    "own": ("own",),
    "argument": ("argument",),
    "reserved": ("reserved",),
    "chat": ("chat",),
    "mixed": ("own", "reserved", "chat"),
    "long": ("long",),
}


def keyroute(listed: Sequence[str]) -> Find:
    """Ours, with every layer on."""
    return RuleBook(keyword_sets(listed)).matcher.find


def first_word_in_dict(listed: Sequence[str]) -> Find:
    """What anybody would write first; finds no keyword of two words."""
    get = {word.casefold(): number for number, word in enumerate(listed)}.get
    return lambda text, _: get(text.strip().casefold().split(None, 1)[0])


def regular_expression(listed: Sequence[str]) -> Find:
    """One pattern of all keywords, at the beginning of the text."""
    match = re.compile(
        rf"\s*({'|'.join(sorted(map(re.escape, listed), key=len, reverse=True))})\b", re.IGNORECASE
    ).match
    return lambda text, _: match(text)


def pyahocorasick(listed: Sequence[str]) -> Find:
    """https://pypi.org/project/pyahocorasick/"""
    automaton = ahocorasick.Automaton()
    for number, word in enumerate(listed):
        automaton.add_word(word.casefold(), number)
    automaton.make_automaton()
    return lambda text, _: list(automaton.iter_long(text.casefold()))


def aho_corasick_of_rust(listed: Sequence[str]) -> Find:
    """https://pypi.org/project/ahocorasick-rs/"""
    automaton = ahocorasick_rs.AhoCorasick(
        [word.casefold() for word in listed], matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
    )
    return lambda text, _: automaton.find_matches_as_indexes(text.casefold())


def marisa(listed: Sequence[str]) -> Find:
    """https://pypi.org/project/marisa-trie/: the keywords that the text begins with."""
    trie = marisa_trie.Trie([word.casefold() for word in listed])
    return lambda text, _: trie.prefixes(text.strip().casefold())


def flashtext(listed: Sequence[str]) -> Find:
    """https://pypi.org/project/flashtext2/"""
    processor = flashtext2.KeywordProcessor(case_sensitive=False)
    for word in listed:
        processor.add_keyword(word)
    return lambda text, _: processor.extract_keywords(text)


def hyperscan_literals(listed: Sequence[str]) -> Find:
    """https://pypi.org/project/hyperscan/: Vectorscan or Hyperscan, one literal for each keyword."""
    database = hyperscan.Database()
    database.compile(
        expressions=[word.encode() for word in listed],
        ids=list(range(len(listed))),
        elements=len(listed),
        flags=[hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH] * len(listed),
    )

    def find(text: str, _: int) -> list[int]:
        found: list[int] = []
        database.scan(text.encode(), match_event_handler=lambda number, *_: found.append(number))
        return found

    return find


MATCHERS: dict[str, Callable[[Sequence[str]], Find]] = {
    "keyroute": keyroute,
    "dict": first_word_in_dict,
    "re": regular_expression,
    "pyahocorasick": pyahocorasick,
    "ahocorasick-rs": aho_corasick_of_rust,
    "marisa-trie": marisa,
    "flashtext2": flashtext,
    "hyperscan": hyperscan_literals,
}


def run(find: Find, batch: Sequence[Message]) -> None:
    """Each message once."""
    for message in batch:
        find(message.text, message.program)


def compared(names: Sequence[str], listed: Sequence[str], rounds: int) -> dict[str, dict[str, float]]:
    """Nanoseconds a message, by matcher and column: medians of rounds in which the matchers take turns."""
    finders = {name: MATCHERS[name](listed) for name in names}
    figures: dict[str, dict[str, float]] = {name: {} for name in names}
    for column, kinds in COLUMNS.items():
        batch = [(message.text, message.program) for message in messages(listed, kinds, BATCH)]
        taken: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name, find in finders.items():
                began = time.perf_counter_ns()
                for text, program in batch:
                    find(text, program)
                taken[name].append((time.perf_counter_ns() - began) / BATCH)
        for name in names:
            figures[name][column] = statistics.median(taken[name])
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
