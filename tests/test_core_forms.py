"""The form scanner: the standard library's results on every input, and a limit."""

from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router._core import Form, TooManyFieldsError, scan_form
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
PAIRS = st.lists(st.tuples(NAMES, st.one_of(NAMES, st.text())), max_size=40)


@given(st.one_of(FORMS, PAIRS.map(lambda pairs: urlencode(pairs, errors="replace").encode())))
@example(b"b=2&a=1&b=1&a=1")
@example("a=\uffff&a=\U00010000&a=\ud7ff".encode())
@example(b"a=%ED%A0%80&a=%EF%BF%BD&%FF=%FF")
def test_a_form_joins_its_distinct_pairs_in_the_order_of_their_code_points(data: bytes) -> None:
    pairs = scan_form(data, 1000)
    assert Form(data, 1000).joined() == "".join(name + value for name, value in sorted(set(pairs))).encode()


@given(PAIRS)
@example([("ab\0", "1"), ("ab", "2"), ("ab", "é")])
def test_a_field_is_got_by_its_name_and_of_a_repeated_one_the_last(pairs: list[tuple[str, str]]) -> None:
    data = urlencode(pairs, errors="replace").encode()
    form, fields = Form(data, 1000), dict(scan_form(data, 1000))
    assert [form.get(name) for name in fields] == list(fields.values())
    for name in ("a", "ab", "SmsMess", ""):
        assert form.get(name) == fields.get(name)
        assert form.get(name, "none") == fields.get(name, "none")


def test_a_form_that_is_no_bytes_and_a_name_that_is_no_text_are_refused() -> None:
    with pytest.raises(TypeError):
        Form("a=b", 10)  # type: ignore[arg-type]  # it is to be refused
    with pytest.raises(TypeError):
        Form(b"a=b", 10).get(b"a")  # type: ignore[call-overload]  # as above
    with pytest.raises(UnicodeEncodeError):
        Form(b"a=b", 10).get("\ud800")
