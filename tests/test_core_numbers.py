"""Phone numbers: what libphonenumber says, on the short way too; and what carriers write as addresses."""

import random
import re
import subprocess
import sys
from functools import cache

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE as REGIONS

from router import PhoneNumber, normalize
from router._core import NumberParseError, classify_address
from tests import reference

ANYTHING = st.text(st.characters(), max_size=40)
CODES = sorted(REGIONS)
DIGITS = st.text("0123456789", max_size=18)
#: Country code and national number as people and carriers write them.
WRITTEN = st.tuples(
    st.sampled_from(["+", "+", "+", "", "00", "011", "＋", "tel:+", " +"]),
    st.one_of(st.sampled_from(CODES).map(str), DIGITS),
    st.lists(st.one_of(DIGITS, st.sampled_from(list(" -().x/٣")), st.characters()), max_size=6).map("".join),
).map("".join)


def said(raw: str, region: str | None = None) -> tuple[str, int] | str:
    try:
        number = normalize(raw, region)
    except NumberParseError as error:
        return error.reason
    return number.e164, number.country_code


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


@pytest.mark.parametrize("code", CODES)
def test_all_numbers_behind_plus_agree_with_libphonenumber(code: int) -> None:
    chance = random.Random(code)
    for _ in range(60):
        digits = "".join(chance.choices("0123456789", k=chance.randint(1, 15 - len(str(code)))))
        raw = f"+{code}{digits}"
        assert said(raw) == reference.normalize(raw, None), raw


def test_unassigned_country_codes_agree_with_libphonenumber() -> None:
    for code in set(range(1000)) - set(CODES):
        for digits in ("2345678", "0" * 7, "123456789012"):
            raw = f"+{code:03}{digits}"
            assert said(raw) == reference.normalize(raw, None), raw


@cache
def starts_with_prefix(pattern: str) -> list[str]:
    """National numbers that a plan's national prefix matches: of each first two digits and length, if there is one."""
    found: dict[tuple[str, int], str] = {}
    chance = random.Random(pattern)
    prefix = re.compile(pattern)
    for head in range(10_000):
        # The Argentine mobile prefix 15 comes behind the area code.
        for tail in ("", "5", "15", *(f"{first}{chance.randrange(10**6):06}" for first in ("", "5", "15"))):
            digits = f"{head:04}{tail}"
            cell = (digits[:2], len(digits))
            match = prefix.match(digits) if cell not in found else None
            if match and match.end():
                found[cell] = digits
    return list(found.values())


def test_no_number_keeps_a_national_prefix_that_libphonenumber_takes_off() -> None:
    for code in CODES:
        metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, REGIONS[code][0])
        assert metadata is not None
        for digits in starts_with_prefix(metadata.national_prefix_for_parsing or "$."):
            raw = f"+{code}{digits}"
            assert said(raw) == reference.normalize(raw, None), raw


@given(st.one_of(WRITTEN, ANYTHING), st.sampled_from([None, "US", "GB", "IT", "AR", "MX", "ZZ"]))
@example("x" * 251, None)
@example("+1", "US")
@example("12", None)
def test_everything_agrees_with_libphonenumber(raw: str, region: str | None) -> None:
    assert said(raw, region) == reference.normalize(raw, region)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("STOP", "not_a_number"),
        ("+", "not_a_number"),
        ("\ud800", "not_a_number"),
        ("4155550199", "invalid_country_code"),
        ("+999123456789", "invalid_country_code"),
        ("+493", "too_short"),
        ("+1" + "2" * 18, "too_long"),
    ],
)
def test_what_is_not_a_number_says_why_and_what_to_write(raw: str, reason: str) -> None:
    with pytest.raises(NumberParseError, match="; write ") as refused:
        normalize(raw)

    assert refused.value.reason == reason
    assert raw[1:] == "" or raw[1:] not in str(refused.value)


@given(st.one_of(st.sampled_from(CODES).flatmap(lambda code: DIGITS.map(lambda digits: f"+{code}{digits}")), WRITTEN))
def test_labels_agree_with_libphonenumber(raw: str) -> None:
    try:
        expected = phonenumbers.parse(raw, "US")
    except phonenumbers.NumberParseException:
        return
    number = normalize(raw, "US")

    assert number.region == phonenumbers.region_code_for_number(expected)
    assert number.valid == phonenumbers.is_valid_number(expected)
    assert number.possible == phonenumbers.is_possible_number(expected)
    assert number.type.upper() == phonenumbers.PhoneNumberType.to_string(phonenumbers.number_type(expected))


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


@pytest.mark.parametrize(
    ("raw", "kind", "address"),
    [
        ("+14155550199", "phone", "+14155550199"),
        ("14155550199", "phone", "+14155550199"),
        (" 14155550199", "phone", "+14155550199"),
        (" +14155550199 ", "phone", "+14155550199"),
        ("whatsapp:+14155550199", "phone", "+14155550199"),
        ("whatsapp: 14155550199", "phone", "+14155550199"),
        ("rcs:+14155550199", "phone", "+14155550199"),
        ("+1 (415) 555-0199", "phone", "+14155550199"),
        ("+4407911123456", "phone", "+447911123456"),
        ("+9991234567", "phone", "+9991234567"),
        ("+279995631564", "phone", "+279995631564"),
        ("1234567", "phone", "+1234567"),
        ("+0001234567", "phone", "+0001234567"),
        ("123456", "short_code", "123456"),
        ("20202", "short_code", "20202"),
        (" 366", "short_code", "366"),
        ("+20202", "malformed", "+20202"),
        ("12", "malformed", "12"),
        ("1" * 16, "malformed", "1" * 16),
        ("+" + "1" * 16, "malformed", "+" + "1" * 16),
        ("202 02", "malformed", "202 02"),
        ("US.13491208655302741918", "user_id", "US.13491208655302741918"),
        ("US.ENT.11815799212886844830", "user_id", "US.ENT.11815799212886844830"),
        ("MTN", "name", "MTN"),
        ("Füße & Co", "name", "Füße & Co"),
        ("12345678901", "phone", "+12345678901"),
        ("MyBrandName12", "malformed", "MyBrandName12"),
        ("MTN+", "malformed", "MTN+"),
        ("---", "malformed", "---"),
        ("a\x00b", "malformed", "a\x00b"),
        ("a\ud800", "malformed", "a\ud800"),
        ("١٢٣٤٥", "malformed", "١٢٣٤٥"),
        ("", "malformed", ""),
        ("whatsapp:", "malformed", ""),
        ("+", "malformed", "+"),
    ],
)
def test_addresses(raw: str, kind: str, address: str) -> None:
    assert classify_address(raw) == (kind, address)


@given(st.one_of(WRITTEN, ANYTHING, st.sampled_from(CODES).flatmap(lambda code: DIGITS.map(lambda d: f"+{code}{d}"))))
def test_an_address_always_has_a_form_that_its_kind_promises(raw: str) -> None:
    kind, address = classify_address(raw)
    shapes = {
        "phone": r"\+[0-9]{7,15}",
        "short_code": "[0-9]{3,6}",
        "user_id": r"[A-Za-z]{2}\.[A-Za-z0-9.]+",
        "name": "[^+]{1,11}",
        "malformed": "(?s:.*)",
    }

    assert re.fullmatch(shapes[kind], address)
    assert kind == "malformed" or address.encode()
    assert kind == "malformed" or classify_address(address) == (kind, address)
