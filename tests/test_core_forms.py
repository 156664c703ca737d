"""The form scanner: the standard library's results on every input, and a limit."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router._core import TooManyFieldsError, join_sorted, scan_form
from tests import reference

#: Bytes as forms have them, and bytes as they do not.
PIECES = st.sampled_from([b"&", b"=", b"+", b"%", b"%2", b"%2B", b"%c3%A9", b"%C3", b"%ZZ", b"%00", b"a", b"\xc3\xa9"])
FORMS = st.lists(st.one_of(PIECES, st.binary(max_size=3)), max_size=30).map(b"".join)


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"", []),
        (b"Body=STOP", [("Body", "STOP")]),
        (b"From=%2B14155550100&Body=Stop+it%21", [("From", "+14155550100"), ("Body", "Stop it!")]),
        (b"a=1&a=2&a=1", [("a", "1"), ("a", "2"), ("a", "1")]),
        (b"a=&b&=c&=", [("a", ""), ("b", ""), ("", "c"), ("", "")]),
        (b"&&a=b&", [("a", "b")]),
        (b"a=b=c", [("a", "b=c")]),
        (b"Body=%F0%9F%9B%91", [("Body", "🛑")]),
        (b"a=%zz%4&b=%", [("a", "%zz%4"), ("b", "%")]),
        (b"a=%25%32%42", [("a", "%2B")]),
        (b"a=%C3", [("a", "\ufffd")]),
        (b"a=\xc3\xa9+%C3%A9", [("a", "é é")]),
        (b"a=1;b=2", [("a", "1;b=2")]),
    ],
)
def test_scanning(data: bytes, fields: list[tuple[str, str]]) -> None:
    assert scan_form(data, 10) == fields


@given(FORMS)
@example(b"%\xc3%a9=\xff%c3")
def test_scanning_agrees_with_the_standard_library(data: bytes) -> None:
    assert scan_form(data, 1000) == reference.scan_form(data)


def test_more_fields_than_allowed_are_refused() -> None:
    assert len(scan_form(b"&".join([b"a=b"] * 10) + b"&&&", 10)) == 10
    with pytest.raises(TooManyFieldsError, match="more than 10 fields; raise the limit"):
        scan_form(b"&".join([b"a=b"] * 11), 10)
    with pytest.raises(TooManyFieldsError):
        scan_form(b"a", 0)
    assert scan_form(b"&&", 0) == []


#: Names that begin alike for as long as, and longer than, what is compared at once; and any.
NAMES = st.one_of(
    st.text(max_size=3), st.sampled_from(["SmsMessageSid", "SmsMessageSi", "SmsMessa", "SmsMess", "ab", "ab\0", ""])
)


@given(st.lists(st.tuples(NAMES, st.one_of(NAMES, st.text())), max_size=40))
@example([("b", "2"), ("a", "1"), ("b", "1"), ("a", "1")])
@example([("\uffff", ""), ("\U00010000", "")])
@example([])
def test_distinct_pairs_are_joined_in_the_order_of_their_code_points(pairs: list[tuple[str, str]]) -> None:
    if any(0xD800 <= ord(ch) < 0xE000 for pair in pairs for text in pair for ch in text):
        with pytest.raises(UnicodeEncodeError):
            join_sorted(pairs)
        return
    assert join_sorted(pairs) == "".join(name + value for name, value in sorted(set(pairs))).encode()


def test_a_surrogate_and_what_is_no_text_are_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        join_sorted([("a", "\ud800")])
    with pytest.raises(TypeError):
        join_sorted([("a", 1)])  # type: ignore[list-item]
