"""What carriers write as the sender and recipient of a text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router._core import classify_address
from tests.number_inputs import WRITTEN


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
        ("00447700900123", "phone", "+447700900123"),
        ("0044770090099", "phone", "+44770090099"),
        ("001234", "short_code", "001234"),
        ("00123456", "phone", "+00123456"),
        ("+00447700900123", "phone", "+447700900123"),
        ("+0004155550199", "phone", "+0004155550199"),
        ("Füße\u00a0AG", "name", "Füße\u00a0AG"),
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


@given(st.one_of(WRITTEN, st.text(st.characters(), max_size=40)))
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
