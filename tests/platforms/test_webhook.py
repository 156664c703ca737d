"""The signed webhook against a receiver that checks with the reference library."""

import time
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from pydantic import ValidationError

from adapters._signing import sign_webhook, webhook_secret
from adapters.platforms.webhook import Webhook, WebhookOptions
from router.delivery.http import HttpClient
from router.errors import BadPayload, BadSignature, DeliveryError
from router.ports import Platform, Secret
from router.types import Event, Inbound, Media
from tests.platforms.events import AT, any_event, any_text, event
from tests.standins.receiver import SECRET, Receiver
from tests.standins.recorder import Recorder

NEW_SECRET = "whsec_YW4gb2xkZXIgc2VjcmV0LCAyNCsgYnl0ZXMgbG9uZw=="


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient(5.0, True) as client:
        yield client


def options(url: str = "http://127.0.0.1:8090/events", *secrets: str, **more: int) -> WebhookOptions:
    return WebhookOptions(url=url, secrets=tuple(map(Secret, secrets or (SECRET,))), **more)


def webhook(receiver: Receiver, *secrets: str, **more: int) -> Webhook:
    return Webhook("crm", options(receiver.url, *secrets, **more), {})


def statuses(results: Sequence[DeliveryError | None]) -> list[int | None]:
    return [error.status if error else None for error in results]


def test_it_is_a_platform() -> None:
    platform: type[Platform] = Webhook

    assert (platform.needs_alias, platform.one_per_sender) == (False, False)


async def test_an_event_is_one_signed_post_of_json(receiver: Receiver, http: HttpClient) -> None:
    results = await webhook(receiver).deliver(http, [event("e1", argument="pizza")])

    assert list(results) == [None]
    assert receiver.ids == ["e1"]
    assert receiver.attempts[0].headers["Content-Type"] == "application/json"
    assert receiver.events == [
        {
            "type": "message.received",
            "timestamp": "2026-02-03T10:00:00.500Z",
            "data": {
                "message_id": "SM-e1",
                "account": "twilio",
                "from": "+14155550123",
                "to": "20202",
                "channel": "sms",
                "text": "COUPONS",
                "media": [],
                "opt_out_type": None,
                "kind": "text",
                "scope": None,
                "intent": "custom",
                "keyword": "COUPONS",
                "argument": "pizza",
                "program": "deals",
                "language": "en",
                "rule": "custom:deals/COUPONS",
                "before": "subscribed",
                "after": "subscribed",
                "reply": None,
                "changes": [{"program": "deals", "before": "subscribed", "after": "subscribed"}],
            },
        }
    ]


async def test_pictures_are_listed(receiver: Receiver, http: HttpClient) -> None:
    message = Inbound("m", "+14155550123", "20202", "", "mms", (Media("https://cdn.example/1", None, "image/png"),))
    picture = Event("e1", AT, "twilio", ("deals",), message, event().decision)

    await webhook(receiver).deliver(http, [picture])

    data = receiver.events[0]["data"]
    assert data["channel"] == "mms"
    assert data["media"] == [{"url": "https://cdn.example/1", "id": None, "content_type": "image/png"}]


@pytest.mark.parametrize("known", [SECRET, NEW_SECRET])
async def test_during_a_rotation_either_secret_verifies(http: HttpClient, known: str) -> None:
    async with Receiver(known) as receiver:
        results = await webhook(receiver, NEW_SECRET, SECRET).deliver(http, [event()])

    assert list(results) == [None]


async def test_an_endpoint_that_is_gone_loses_no_event_while_the_url_is_mended(
    receiver: Receiver, http: HttpClient
) -> None:
    receiver.failing = 410
    (error,) = await webhook(receiver).deliver(http, [event()])

    assert error
    assert (error.status, error.retryable, error.retry_after) == (410, True, 60.0)


async def test_a_receiver_with_another_secret_is_tried_again_a_minute_later(http: HttpClient) -> None:
    async with Receiver(NEW_SECRET) as receiver:
        (error,) = await webhook(receiver).deliver(http, [event()])

    assert error is not None
    assert (error.status, error.retryable, error.retry_after) == (401, True, 60.0)
    assert SECRET not in error.reason


async def test_each_attempt_has_the_same_id_and_its_own_time_and_signature(
    receiver: Receiver, http: HttpClient
) -> None:
    now = time.time()
    times = iter([now, now, now + 60, now + 60])
    platform = Webhook("crm", options(receiver.url), {}, clock=lambda: next(times))
    receiver.fail(503)

    first = await platform.deliver(http, [event()])
    second = await platform.deliver(http, [event()])

    assert (statuses(first), statuses(second)) == ([503], [None])
    before, after = (attempt.headers for attempt in receiver.attempts)
    assert before["webhook-id"] == after["webhook-id"]
    assert int(after["webhook-timestamp"]) - int(before["webhook-timestamp"]) == 60
    assert before["webhook-signature"] != after["webhook-signature"]


async def test_events_go_out_one_after_another_in_their_order(receiver: Receiver, http: HttpClient) -> None:
    events = [event(f"{person}{n}", sender=f"+1415555010{person}") for n in range(5) for person in range(3)]

    assert list(await webhook(receiver).deliver(http, events)) == [None] * 15
    assert receiver.ids == [one.id for one in events]


async def test_a_batch_is_one_signed_post_in_which_each_event_has_its_id(receiver: Receiver, http: HttpClient) -> None:
    events = [event(f"e{n}", sender=f"+1415555010{n % 3}") for n in range(5)]
    platform = webhook(receiver, batch_size=5, connections=3)
    receiver.lose_answer()
    async with HttpClient(0.3, True) as impatient:
        lost = await platform.deliver(impatient, events)
    taken = await platform.deliver(http, events)

    assert (platform.batch_size, platform.requests_at_once) == (5, 3)
    assert [error.outcome_unknown for error in lost if error] == [True] * 5
    assert list(taken) == [None] * 5
    assert receiver.ids == [one.id for one in events] * 2
    first, second = receiver.attempts
    assert first.id == second.id
    assert first.id.startswith("bat_")
    assert first.event["type"] == "events.batch"
    assert [(one["id"], one["type"], one["data"]["text"]) for one in first.event["data"]["events"]] == [
        (one.id, "message.received", one.message.text) for one in events
    ]


@pytest.mark.parametrize("status", [400, 413])
async def test_of_a_batch_refused_whole_only_the_faulty_event_fails(
    receiver: Receiver, http: HttpClient, status: int
) -> None:
    receiver.refuse("e3", status)
    events = [event(f"e{n}") for n in range(7)]

    results = await webhook(receiver, batch_size=10).deliver(http, events)

    assert statuses(results) == [None, None, None, status, None, None, None]
    assert receiver.ids == ["e0", "e1", "e2", "e4", "e5", "e6"]


async def test_nothing_of_a_batch_is_sent_behind_a_part_that_failed(receiver: Receiver, http: HttpClient) -> None:
    receiver.fail(413)
    receiver.fail(503)
    events = [event(f"e{n}") for n in range(4)]

    results = await webhook(receiver, batch_size=10).deliver(http, events)

    assert [error.retryable for error in results if error] == [True] * 4
    assert statuses(results) == [503, 503, None, None]
    assert receiver.ids == []


async def test_after_a_failure_that_can_be_retried_nothing_more_of_that_person_is_sent(
    receiver: Receiver, http: HttpClient
) -> None:
    receiver.refuse("a2", 503)
    alice, bob = "+14155550101", "+14155550102"
    events = [event(name, sender=alice if name[0] == "a" else bob) for name in ("a1", "b1", "a2", "b2", "a3", "b3")]

    results = await webhook(receiver).deliver(http, events)

    assert statuses(results[:4]) == [None, None, 503, None]
    assert results[4]
    assert (results[4].retryable, results[4].outcome_unknown, results[5]) == (True, False, None)
    assert "a3" not in [attempt.id for attempt in receiver.attempts]


async def test_an_event_refused_for_good_does_not_stop_the_next(receiver: Receiver, http: HttpClient) -> None:
    receiver.refuse("e2", 422)

    results = await webhook(receiver).deliver(http, [event("e1"), event("e2"), event("e3")])

    assert statuses(results) == [None, 422, None]
    assert receiver.ids == ["e1", "e3"]


@pytest.mark.parametrize(("status", "retryable"), [(301, False), (400, False), (408, True), (429, True), (500, True)])
async def test_what_the_receiver_answers_decides_on_a_retry(
    receiver: Receiver, http: HttpClient, status: int, retryable: bool
) -> None:
    receiver.failing = status
    receiver.answer_headers = {"Retry-After": "9"}

    (error,) = await webhook(receiver).deliver(http, [event()])

    assert error is not None
    assert (error.status, error.retryable, error.retry_after) == (status, retryable, 9.0)


async def test_a_receiver_that_does_not_answer_leaves_the_outcome_unknown(receiver: Receiver) -> None:
    receiver.lose_answer()
    async with HttpClient(0.3, True) as impatient:
        (error,) = await webhook(receiver).deliver(impatient, [event()])

    assert error is not None
    assert (error.retryable, error.outcome_unknown) == (True, True)
    assert receiver.ids == ["e1"]


async def test_an_echo_of_the_request_does_not_show_in_the_reason(receiver: Receiver, http: HttpClient) -> None:
    told = event(text='My "very" private words', argument="private words")
    receiver.failing = 400
    receiver.echoes = True

    (error,) = await webhook(receiver).deliver(http, [told])

    assert error is not None
    assert "400" in error.reason
    assert "private" not in error.reason
    assert "4155550123" not in error.reason


@given(any_event)
async def test_any_event_can_be_sent_and_checked(told: Event) -> None:
    http = Recorder()
    await Webhook("crm", options(), {}).deliver(http, [told])

    checked = Webhook.check_delivery(options(), *http.requests[0], time.time())

    assert checked["data"]["text"] == told.message.text.encode(errors="replace").decode()
    assert checked["data"]["from"] == told.message.sender


def signed(body: bytes, now: float = 1770112800.0) -> dict[str, str]:
    signature = sign_webhook([webhook_secret(SECRET)], "e1", int(now), body)
    return {"webhook-id": "e1", "webhook-timestamp": str(int(now)), "webhook-signature": signature}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'"type"', b"{", b"\xff"])
def test_a_signed_body_that_is_no_event_is_bad_payload(body: bytes) -> None:
    with pytest.raises(BadPayload, match="Send a JSON object"):
        Webhook.check_delivery(options(), signed(body), body, 1770112800.0)


def test_a_changed_body_is_a_bad_signature() -> None:
    with pytest.raises(BadSignature):
        Webhook.check_delivery(options(), signed(b'{"type":"a"}'), b'{"type":"b"}', 1770112800.0)


@given(any_text)
def test_no_secret_is_repeated_when_it_is_refused(text: str) -> None:
    secret = text + "*"  # which is not of Base64
    with pytest.raises(ValidationError) as caught:
        options("https://crm.example.com/", secret)

    (problem,) = caught.value.errors()
    assert problem["loc"] == ("secrets", 0)
    assert problem["ctx"]["remedy"].startswith("Write it")
    assert len(secret) < 8 or secret not in str(caught.value)


@pytest.mark.parametrize(
    ("secrets", "loc"),
    [([], ("secrets",)), (["env:KEYROUTE_TEST_UNSET"], ("secrets", 0)), (["whsec_AAAA"], ("secrets", 0))],
    ids=["none", "unset", "inline"],
)
def test_a_webhook_without_a_usable_secret_is_refused_in_one_error(secrets: list[str], loc: tuple[object]) -> None:
    with pytest.raises(ValidationError) as caught:
        WebhookOptions.model_validate({"url": "https://crm.example.com/", "secrets": secrets})

    (problem,) = caught.value.errors()
    assert problem["loc"] == loc
    assert problem["ctx"]["remedy"]
