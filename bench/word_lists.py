"""Makes the word lists of `router/language` again, from the package wordfreq (install it by hand; it is large).

`python -m bench.word_lists`. `real_words.tsv`: ordinary words that are one mistake away from a reserved keyword, and
so are not taken for a misspelled one. `common_words.tsv`: the commonest words of each language that has phrases, the
commonest first: by them it is told which words of a rule are rare.
"""

import argparse
from pathlib import Path

import wordfreq

from router._core import KeywordMatcher, fold
from router.language import LANGUAGES, phrases
from router.rules import reserved_words

FOLDER = Path(phrases.__file__).parent
#: Words below these frequencies (Zipf scale: 3 is once in a million words) are names and mistakes themselves.
RAREST = 2.4
COMMON = 150
#: Languages that wordfreq knows under another name.
NAMES = {"hr": "sh", "sr": "sh", "bs": "sh"}
MISSPELLING = 10


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    spoken = sorted({language.partition("-")[0] for language in LANGUAGES} | {"en"})
    known = {language: NAMES.get(language, language) for language in spoken}
    known = {language: name for language, name in known.items() if name in wordfreq.available_languages()}
    forms = reserved_words(LANGUAGES)
    entries = [(form, -1, number, False) for number, form in enumerate(forms)]
    find = KeywordMatcher(entries, tables=[(0, 0xFFFF)], groups=[((), frozenset())]).find
    real, common = [], []
    for language, name in known.items():
        # A list of lists: those of index i have the frequency 10 ** (-i / 100).
        words = [word for found in wordfreq.get_frequency_list(name)[: round((9 - RAREST) * 100)] for word in found]
        for form in dict.fromkeys(map(fold, words)):
            found = find(form, 0) if form.isalpha() else None
            if found and found[0] == MISSPELLING:
                real.append(f"{language}\t{form}")
        if language in phrases.files():
            common += [f"{language}\t{form}" for form in dict.fromkeys(fold(word) for word in words[:COMMON])]
    write("real_words.tsv", real)
    write("common_words.tsv", common)


def write(name: str, rows: list[str]) -> None:
    (FOLDER / name).write_text("\n".join(["language\tword", *rows]) + "\n", encoding="utf-8")
    print(f"{name}: {len(rows)} words")


if __name__ == "__main__":
    main()
