"""From an HTTP response to the error it stands for, and what of it may be shown."""

import contextlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from adapters._http import LONGEST_PAUSE, HttpUrl, delivery_error, json_body, redact, utc_time
from router.types import HttpResponse
from tests.platforms.events import any_text

NOW = 1770112800.0  # Tue, 03 Feb 2026 10:00:00 GMT


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_2xx_is_no_error(status: int) -> None:
    assert delivery_error(HttpResponse(status, {}, b"")) is None


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (301, False),
        (304, False),
        (400, False),
        (401, False),
        (404, False),
        (408, True),
        (410, False),
        (422, False),
        (425, True),
        (429, True),
        (500, True),
        (503, True),
        (504, True),
        (599, True),
        (700, True),
    ],
)
def test_what_can_be_retried(status: int, retryable: bool) -> None:
    error = delivery_error(HttpResponse(status, {}, b""))

    assert error is not None
    assert (error.retryable, error.status) == (retryable, status)
    assert error.reason.startswith(str(status))


def test_only_a_gateway_that_stopped_waiting_leaves_the_outcome_unknown() -> None:
    errors = {status: delivery_error(HttpResponse(status, {}, b"")) for status in (500, 502, 503, 504)}

    assert [status for status, error in errors.items() if error and error.outcome_unknown] == [504]


@pytest.mark.parametrize(
    ("status", "headers", "pause"),
    [
        (429, {"retry-after": "7"}, 7.0),
        (503, {"retry-after": " 7 "}, 7.0),
        (429, {"retry-after": "0"}, 0.0),
        (429, {"retry-after": "Tue, 03 Feb 2026 10:01:00 GMT"}, 60.0),
        (429, {"retry-after": "Tue, 03 Feb 2026 09:00:00 GMT"}, 0.0),
        (429, {"retry-after": "Tue, 03 Feb 2026 10:01:00"}, 60.0),
        (429, {"x-ratelimit-reset": "1770112803"}, 3.0),
        (429, {"retry-after": "2", "x-ratelimit-reset": "1770112803"}, 2.0),
        (429, {"retry-after": "soon", "x-ratelimit-reset": "1770112803"}, 3.0),
        (429, {"retry-after": "999999999"}, LONGEST_PAUSE),
        (429, {"retry-after": "-1"}, None),
        (429, {"retry-after": "１２"}, None),
        (429, {"x-ratelimit-reset": "later"}, None),
        (429, {}, None),
    ],
)
def test_the_pause_asked_for_is_told_in_seconds(status: int, headers: dict[str, str], pause: float | None) -> None:
    error = delivery_error(HttpResponse(status, headers, b""), NOW)

    assert error is not None
    assert error.retry_after == pause


def test_without_a_clock_only_a_number_of_seconds_is_a_pause() -> None:
    date = delivery_error(HttpResponse(429, {"retry-after": "Tue, 03 Feb 2026 10:01:00 GMT"}, b""))
    seconds = delivery_error(HttpResponse(429, {"retry-after": "5"}, b""))

    assert date is not None
    assert seconds is not None
    assert (date.retry_after, seconds.retry_after) == (None, 5.0)


@given(
    st.integers(100, 999),
    st.dictionaries(st.sampled_from(["retry-after", "x-ratelimit-reset", "content-type"]), any_text),
    st.binary(max_size=300),
)
def test_no_response_makes_it_raise(status: int, headers: dict[str, str], body: bytes) -> None:
    error = delivery_error(HttpResponse(status, headers, body), NOW)

    assert (error is None) == (200 <= status < 300)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("invalid 'to': +14155550123", "invalid 'to': …23"),
        ("call (415) 555-0123 now", "call (…23 now"),
        ("14155550123,14155550124", "…23,…24"),
        ("code 123456 is fine", "code 123456 is fine"),
        ("bad key Bearer abc.def", "bad key Bearer …"),
        ("key 0f0e0d0c-1111-4222-8333-444455556666 unknown", "key … unknown"),
        ("whsec_short is wrong", "… is wrong"),
        ("subscription_group_id_is_required", "subscription_group_id_is_required"),
        ("two\n\tlines\x00here", "two lines here"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_an_excerpt_is_short_and_holds_no_number_or_secret(said: str, shown: str) -> None:
    assert redact(said) == shown


@given(any_text, st.from_regex(r"[ (.-]{0,2}".join([r"\+?[0-9]"] + [r"[0-9]"] * 9), fullmatch=True), any_text)
def test_no_phone_number_survives(before: str, number: str, after: str) -> None:
    shown = redact(f"{before} {number} {after}")

    assert not re.search(r"\d(?:[\s().\-]{0,2}\d){6}", shown)
    assert len(shown) <= 200


@given(any_text.filter(lambda text: any(map(str.isalnum, text)) and len(text) > 3))
def test_a_text_that_is_echoed_as_json_or_as_it_is_does_not_show(text: str) -> None:
    echo = json_body({"#": text}).decode()  # a name that is no text hides with none

    assert redact(echo, hide=[text]) in ('{"#":"…"}', '{"#":" …"}', '{"#":"… "}', '{"#":" … "}')


@pytest.mark.parametrize("echo", ["Body was: My Secret Text", "body was: my secret text!", '"my secret text"'])
def test_a_hidden_text_is_found_in_any_case(echo: str) -> None:
    assert "secret" not in redact(echo, hide=["my secret TEXT"]).lower()


def test_a_hidden_text_does_not_blot_out_other_words() -> None:
    assert redact("an invalid request", hide=["a", ""]) == "an invalid request"


def test_a_page_of_html_is_not_quoted() -> None:
    error = delivery_error(HttpResponse(502, {"content-type": "text/html; charset=utf-8"}, b"<html>...</html>"))

    assert error is not None
    assert error.reason == "502 Bad Gateway."


@given(any_text)
def test_any_text_becomes_json_in_utf8(text: str) -> None:
    written = json_body({"text": text})

    assert json.loads(written.decode("utf-8")) == {"text": text.encode("utf-8", "replace").decode()}


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (1770112800, "2026-02-03T10:00:00.000Z"),
        (1770112800.123, "2026-02-03T10:00:00.123Z"),
        (0, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_utc_to_the_millisecond(at: float, written: str) -> None:
    assert utc_time(at) == written


@pytest.mark.parametrize(
    "url",
    [
        "https://crm.example.com/events",
        "http://127.0.0.1:8090/events?x=1",
        "https://[::1]:8443/",
        "https://bücher.example/",
        "https://crm.example.com.",
    ],
)
def test_urls_that_are_taken(url: str) -> None:
    assert TypeAdapter(HttpUrl).validate_python(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "crm.example.com/events",
        "ftp://crm.example.com/",
        "https://",
        "https:///events",
        "https://crm.example.com:0/",
        "https://crm.example.com:99999/",
        "https://crm example.com/",
        "https://crm.example.com/\nx",
        "https://" + "a" * 64 + ".example/",
        "https://a..example/",
        "https://user:s3cret@crm.example.com/",
        "https://crm.example.com/#here",
    ],
)
def test_urls_that_are_refused_with_a_remedy(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(HttpUrl).validate_python(url)

    (error,) = caught.value.errors()
    assert error["ctx"]["remedy"].startswith("Write it")


@given(any_text)
def test_no_url_raises_anything_but_a_validation_error(url: str) -> None:
    with contextlib.suppress(ValidationError):
        TypeAdapter(HttpUrl).validate_python(f"https://{url}")
