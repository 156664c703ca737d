"""Signatures of webhooks, with the reference library of Standard Webhooks as the witness."""

import base64
import hmac
import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from adapters._signing import SigningKey, matches, sign_webhook, verify_webhook, webhook_secret
from router.errors import BadSignature
from tests.kit import ANY_TEXT, JUNK, flipped

NOW = 1_770_112_800
KEY, OTHER_KEY = b"k" * 24, b"o" * 32
BODY = '{"text":"arrêt 👋"}'.encode()


class Vector(TypedDict):
    secret: str
    id: str
    timestamp: int
    body: str
    signature: str


VECTORS: list[Vector] = json.loads(
    Path(__file__).with_name("fixtures").joinpath("standard-webhooks", "sign-vectors.json").read_text()
)


def headers(signature: str, event_id: str = "evt_1", timestamp: object = NOW) -> dict[str, str]:
    return {"webhook-id": event_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}


SIGNATURE = sign_webhook([KEY], "evt_1", NOW, BODY)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_published_vectors(vector: Vector) -> None:
    key, body = webhook_secret(vector["secret"]), vector["body"].encode()
    signature = sign_webhook([key], vector["id"], vector["timestamp"], body)

    assert vector["signature"] == signature
    verify_webhook([key], headers(signature, vector["id"], vector["timestamp"]), body, vector["timestamp"])


@pytest.mark.parametrize(
    "written", ["whsec_a2V5IG9mIHRlbg==", "whsec_a2V5IG9mIHRlbg", "a2V5IG9mIHRlbg==", "a2V5IG9mIHRlbg\n"]
)
def test_prefix_and_padding_of_a_secret_are_optional(written: str) -> None:
    assert webhook_secret(written) == b"key of ten"


@pytest.mark.parametrize(
    "written", ["", "whsec_", "whsec_====", " ", "whsec_a", "whsec_é", "whsec_a-b_", "whsec_not base64"]
)
def test_a_broken_secret_is_refused_with_a_remedy_and_not_repeated(written: str) -> None:
    with pytest.raises(ValueError, match="Write ") as raised:
        webhook_secret(written)

    assert written.strip() in ("", "whsec_") or written not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@given(ANY_TEXT)
def test_any_text_is_a_secret_or_a_value_error(written: str) -> None:
    with suppress(ValueError):
        assert webhook_secret(written)


@pytest.mark.parametrize(
    ("secrets", "signature"),
    [
        ([KEY], SIGNATURE),
        ([OTHER_KEY, KEY], SIGNATURE),
        ([KEY], sign_webhook([OTHER_KEY, KEY], "evt_1", NOW, BODY)),
        ([KEY], f"v1a,AAAA {SIGNATURE}"),
        ([KEY], f"nonsense  , v1 v1, v1,é {SIGNATURE} v2,x"),
    ],
    ids=["one", "second secret", "second signature", "v1a beside it", "broken entries beside it"],
)
def test_any_secret_and_any_entry_may_fit(secrets: list[bytes], signature: str) -> None:
    verify_webhook(secrets, headers(signature), BODY, NOW)


def test_a_signature_counts_only_for_its_version() -> None:
    signature = SIGNATURE.replace("v1,", "v1a,")

    with pytest.raises(BadSignature):
        verify_webhook([KEY], headers(signature), BODY, NOW)


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_five_minutes_either_way_are_good(seconds: int) -> None:
    verify_webhook([KEY], headers(SIGNATURE), BODY, NOW + seconds)


@pytest.mark.parametrize("seconds", [-301, -300.01, 300.01, 301])
def test_more_than_five_minutes_are_not(seconds: float) -> None:
    with pytest.raises(BadSignature):
        verify_webhook([KEY], headers(SIGNATURE), BODY, NOW + seconds)


@pytest.mark.parametrize(
    "timestamp", [f"{NOW}.0", f" {NOW}", f"+{NOW}", f"{NOW}\n", "١٧٧٠١١٢٨٠٠", "1_770_112_800", "9" * 13, "-1"]
)
def test_a_timestamp_is_one_to_twelve_plain_digits(timestamp: str) -> None:
    # The message is signed with the header as written, so that only its form can be at fault.
    message = b"evt_1." + timestamp.encode("latin-1", "replace") + b"." + BODY
    signature = f"v1,{SigningKey(KEY, 'sha256').sign(message).decode()}"

    with pytest.raises(BadSignature, match="webhook-timestamp"):
        verify_webhook([KEY], headers(signature, timestamp=timestamp), BODY, NOW)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_every_header_is_needed(name: str) -> None:
    given_headers = headers(SIGNATURE)
    with pytest.raises(BadSignature):
        verify_webhook([KEY], {key: value for key, value in given_headers.items() if key != name}, BODY, NOW)

    for junk in JUNK:
        with pytest.raises(BadSignature):
            verify_webhook([KEY], {**given_headers, name: junk}, BODY, NOW)


def test_every_byte_of_the_body_counts() -> None:
    for body in flipped(BODY):
        with pytest.raises(BadSignature):
            verify_webhook([KEY], headers(SIGNATURE), body, NOW)


def test_without_secrets_nothing_is_authentic() -> None:
    with pytest.raises(BadSignature):
        verify_webhook([], headers(SIGNATURE), BODY, NOW)


@given(st.dictionaries(st.sampled_from(sorted(headers(""))), ANY_TEXT), st.binary())
def test_rubbish_is_a_bad_signature_and_nothing_else(given_headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(BadSignature):
        verify_webhook([KEY], given_headers, body, NOW)


@given(key=st.binary(min_size=1), event_id=st.from_regex(r"[!-~]+", fullmatch=True), body=st.text())
def test_agrees_with_the_reference_library_in_both_directions(key: bytes, event_id: str, body: str) -> None:
    now = int(time.time())
    reference = Webhook(f"whsec_{base64.b64encode(key).decode()}")
    theirs = reference.sign(event_id, datetime.fromtimestamp(now, UTC), body)
    ours = sign_webhook([key], event_id, now, body.encode())

    assert theirs == ours
    verify_webhook([key], headers(theirs, event_id, now), body.encode(), now)
    reference.verify(body, headers(ours, event_id, now), json_parse=False)


@given(ANY_TEXT, st.binary())
def test_a_signature_matches_exactly_when_it_is_equal(given_text: str, message: bytes) -> None:
    signature = SigningKey(KEY, "sha1").sign(message)

    assert matches(signature.decode(), signature)
    assert matches(given_text, signature) == (given_text == signature.decode())


@given(st.binary(), st.lists(st.binary(), min_size=1), st.sampled_from(["sha1", "sha256"]))
def test_a_key_signs_any_number_of_messages(
    key: bytes, messages: list[bytes], algorithm: Literal["sha1", "sha256"]
) -> None:
    ready = SigningKey(key, algorithm)

    for message in messages:
        assert base64.b64decode(ready.sign(message)) == hmac.digest(key, message, algorithm)
