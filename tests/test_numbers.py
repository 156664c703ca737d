"""Phone numbers: what `normalize` offers. That its answers are those of libphonenumber: `test_number_equality.py`."""

import copy
import os
import pickle
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import phonenumbers
import pytest

from router import PhoneNumber, normalize, numbering
from router._core import METADATA_VERSION, NumberParseError, is_certain

NUMBERING = Path(__file__).parent.parent / "router" / "numbering.py"


@pytest.mark.parametrize(
    ("raw", "region", "e164"),
    [
        ("+14155550199", None, "+14155550199"),
        ("+1 (415) 555-0199", None, "+14155550199"),
        ("(415) 555-0199", "US", "+14155550199"),
        ("020 7946 0018", "GB", "+442079460018"),
        ("+4407911123456", None, "+447911123456"),
        ("+118005550199", None, "+18005550199"),
        ("+390612345678", None, "+390612345678"),
        ("+5491123456789", None, "+5491123456789"),
        ("+54111523456789", None, "+5491123456789"),
    ],
)
def test_numbers_become_e164(raw: str, region: str | None, e164: str) -> None:
    assert normalize(raw, region).e164 == e164


@pytest.mark.parametrize(
    ("raw", "region", "reason"),
    [
        ("STOP", None, "not_a_number"),
        ("+", None, "not_a_number"),
        ("\ud800", None, "not_a_number"),
        ("4155550199", None, "invalid_country_code"),
        ("4155550199", "us", "invalid_country_code"),
        ("+999123456789", None, "invalid_country_code"),
        ("+493", None, "too_short_nsn"),
        ("0049", "DE", "too_short_after_idd"),
        ("+1" + "2" * 18, None, "too_long"),
    ],
)
def test_what_is_not_a_number_says_why_and_what_to_write(raw: str, region: str | None, reason: str) -> None:
    with pytest.raises(NumberParseError, match="; write ") as refused:
        normalize(raw, region)

    assert refused.value.reason == reason
    assert raw[1:] == "" or raw[1:] not in str(refused.value)


def test_labels_by_example() -> None:
    number = normalize("+442079460018")

    assert (number.region, number.type, number.valid, number.possible) == ("GB", "fixed_line", True, True)
    assert normalize("+18005550199").type == "toll_free"
    assert normalize("+14155550199").type == "fixed_line_or_mobile"
    assert normalize("+447911123456").type == "mobile"
    assert normalize("+10000000000").type == "unknown"


def test_equal_numbers_are_equal_and_do_not_show_themselves() -> None:
    number = normalize("+14155550199")

    assert number == normalize("(415) 555-0199", "US") != normalize("+14155550198")
    assert len({number, normalize("+1 415 555 0199"), "+14155550199"}) == 2
    assert repr(number) == "PhoneNumber(+1…99)"
    with pytest.raises(TypeError, match="normalize"):
        PhoneNumber()
    with pytest.raises(AttributeError):
        number.e164 = "+1"  # type: ignore[misc]


def test_the_numbering_data_is_loaded_only_when_needed() -> None:
    program = "import sys, router; router.normalize('+14155550199').e164; sys.exit('phonenumbers' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_numbering_plans_that_were_compiled_in_are_told() -> None:
    assert phonenumbers.__version__ == METADATA_VERSION


def test_what_takes_libphonenumber_is_told() -> None:
    assert is_certain("+14155550199")
    assert is_certain("(415) 555-0199", "US")
    assert is_certain("STOP")
    assert not is_certain("+14155550199 ext. 3")
    assert not is_certain("1-800-FLOWERS", "US")


def test_the_same_metadata_gives_the_same_tables(tmp_path: Path) -> None:
    for folder, seed in (("one", "1"), ("other", "2")):
        command = [sys.executable, "-P", str(NUMBERING), str(tmp_path / folder)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed})

    one, other = (tmp_path.joinpath(folder, "numbering.h").read_bytes() for folder in ("one", "other"))
    assert one == other


def test_numbers_and_errors_can_be_copied_and_sent_to_other_processes() -> None:
    number = normalize("+442079460018")
    again = pickle.loads(pickle.dumps(number))  # noqa: S301 (our own bytes)
    with pytest.raises(NumberParseError) as raised:
        normalize("STOP")
    error = copy.copy(raised.value)

    assert (again.e164, again.region, again.type, again.possible) == ("+442079460018", "GB", "fixed_line", True)
    assert (error.reason, str(error)) == (raised.value.reason, str(raised.value))


@pytest.mark.parametrize(
    "state", [("+1", 1), ("+14155550199", 44), ("+14155550199", 999), ("x", 1), ("+1" + "2" * 18, 1)]
)
def test_what_was_not_a_number_is_none_when_it_comes_back(state: tuple[str, int]) -> None:
    restore: Any = normalize("+14155550199").__reduce__()[0]

    with pytest.raises(NumberParseError):
        restore(*state)


def test_a_number_made_by_hand_says_nothing() -> None:
    number = PhoneNumber.__new__(PhoneNumber)

    assert (number.region, number.type, number.valid) == (None, "unknown", False)


def test_texts_of_other_kinds_are_read_like_texts() -> None:
    class Region(StrEnum):
        US = "US"

    class Written(StrEnum):
        OURS = "+14155550199"

    assert normalize(Region.US + " 4155550199", Region.US).e164 == "+14155550199"
    assert normalize(Written.OURS).e164 == "+14155550199"
    with pytest.raises(TypeError):
        normalize(14155550199)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pattern", [r"\d{3,}", r"\d{3,2}", r"\d{ 2}", r"\d{2", r"\d+", r"\d*", "(?!0)1", "[^0]1", "(1", "$1", "1)", "a"]
)
def test_patterns_of_another_kind_are_refused_in_words(pattern: str) -> None:
    with pytest.raises(ValueError, match="teach"):
        numbering._Compiler(pattern).compile()


@pytest.mark.parametrize("rule", ["2680000\\1", "x\\1", "\\2", "\\10", "1"])
def test_rules_of_another_kind_are_refused_in_words(rule: str) -> None:
    prefix = numbering._Prefix("(1)2", rule, [])
    state = prefix.start
    for digit in "12":
        followed = prefix.follow(state, digit)
        assert followed
        state = followed

    with pytest.raises(ValueError, match="teach it to _Prefix"):
        prefix.label(state, 2)
