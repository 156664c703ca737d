"""Phone numbers beside libphonenumber: `python -m bench.numbers [--rounds 7] [--cpp FOLDER]`.

Each column is a kind of input: nanoseconds a number, to E.164 with its labels, and in brackets that as a multiple of
ours. All run on the same numbers, in turns, ours 50 times in each of its turns so that a turn is not over before caches
are warm; the figures are medians of the rounds. Below: the share of each kind that keyroute leaves to `phonenumbers`.

`--cpp`: where Google's own library is, behind its Python binding, as `pip install --target FOLDER closeio-phonenumbers`
puts it there (Python 3.12 or later).
"""

import argparse
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import phonenumbers
from phonenumbers import PhoneNumberFormat

from bench import libphonenumber
from bench.libphonenumber import Number
from bench.turns import medians
from router import normalize
from router._core import is_certain
from tests.number_inputs import examples

BATCH = 1000
#: How often keyroute works through a batch in one turn.
_AGAIN = 50


def keyroute(batch: list[Number]) -> None:
    """Ours; the labels are worked out with it."""
    for raw, region in batch * _AGAIN:
        _ = normalize(raw, region).e164


def columns() -> dict[str, list[Number]]:
    """The numbers of each column: valid ones of all regions and types."""
    chance = random.Random(1)
    chosen = chance.choices(examples(), k=BATCH)
    e164 = [f"+{plan.country_code}{number}" for plan, number in chosen]
    regions = [plan.id if len(plan.id) == 2 else "US" for plan, _ in chosen]
    parsed = [phonenumbers.parse(number) for number in e164]
    national = [
        phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL if len(plan.id) == 2 else PhoneNumberFormat.E164)
        for number, (plan, _) in zip(parsed, chosen, strict=True)
    ]
    digits = [
        "".join(character for character in text if character.isdecimal() or character == "+") for text in national
    ]
    return {
        "+…": [(number, None) for number in e164],
        "+1…": [(f"+1415555{last:04}", None) for last in range(BATCH)],
        "national": list(zip(digits, regions, strict=True)),
        "printed": list(zip(national, regions, strict=True)),
        "+ 1 2…": [(phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL), None) for number in parsed],
        "extension": [(f"{text} ext. 12", region) for text, region in zip(national, regions, strict=True)],
    }


def _each(taken: dict[str, float]) -> dict[str, float]:
    """Nanoseconds a number."""
    return {name: ns / BATCH / (_AGAIN if name == "keyroute" else 1) for name, ns in taken.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cpp", type=Path, metavar="FOLDER")
    chosen = parser.parse_args(arguments)
    phonenumbers.enable_pattern_cache()
    runs: dict[str, Callable[[list[Number]], float | None]] = {
        "keyroute": keyroute,
        "phonenumbers": libphonenumber.run,
    }
    batches = columns()
    with libphonenumber.elsewhere(chosen.cpp) if chosen.cpp else nullcontext() as original:
        if original:
            runs["libphonenumber in C++"] = original
        figures = {
            column: _each(medians({name: partial(run, batch) for name, run in runs.items()}, chosen.rounds))
            for column, batch in batches.items()
        }
    print("ns a number".ljust(28) + "".join(column.rjust(18) for column in batches))
    for name in runs:
        cells = (f"{found[name]:8.0f} ({found[name] / found['keyroute']:5.0f})" for found in figures.values())
        print(name.ljust(28) + "".join(cell.rjust(18) for cell in cells))
    left = (sum(not is_certain(*number) for number in batch) / BATCH for batch in batches.values())
    print("left to phonenumbers".ljust(28) + "".join(f"{share:.1%}".rjust(18) for share in left))


if __name__ == "__main__":
    main()
