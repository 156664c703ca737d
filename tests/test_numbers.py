"""Phone numbers: what `normalize` offers. That its answers are those of libphonenumber: `test_number_equality.py`."""

import os
import subprocess
import sys
from pathlib import Path

import phonenumbers
import pytest

from router import PhoneNumber, normalize
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
