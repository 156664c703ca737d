"""Adobe, against a sandbox that does what the documents say, and tells no more of it than they do."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import given
from pydantic import ValidationError
from structlog.testing import capture_logs

from adapters.platforms.adobe import Adobe, AdobeOptions, AdobeProgramOptions
from router.delivery.http import HttpClient
from router.errors import DeliveryError
from router.ports import Platform, Secret, Warns
from router.types import Change, Channel, Decision, Event, Inbound
from tests.platforms.events import SENDER, any_event, event
from tests.running import DEALS, KEYROUTE, Keyroute, Twilio, write_configuration
from tests.standins.adobe import CLIENT_ID, CLIENT_SECRET, INLET, ORG, destination
from tests.standins.adobe import Adobe as Sandbox
from tests.standins.recorder import Recorder

SCHEMA = "https://ns.adobe.com/acme/schemas/1"
PROGRAMS = {
    "deals": ("Deals", AdobeProgramOptions(event_id="ajo-event-1")),
    "alerts": ("Alerts", AdobeProgramOptions(event_type="alert.text")),
}
NAMED = {
    "deals": ("Deals", AdobeProgramOptions(subscription="deals")),
    "alerts": ("Alerts", AdobeProgramOptions(subscription="news")),
}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient(5.0, True) as client:
        yield client


def options(origin: str, **more: Any) -> AdobeOptions:
    settings: dict[str, Any] = {
        "url": origin,
        "token_url": f"{origin}/ims/token/v3",
        "inlet": INLET,
        "ims_org": ORG,
        "client_id": CLIENT_ID,
        "client_secret": Secret(CLIENT_SECRET),
        "scopes": ("openid", "AdobeID"),
        "consent_flow": "flow-c",
        "consent_dataset": "set-c",
        "event_flow": "flow-e",
        "event_dataset": "set-e",
        "event_schema": SCHEMA,
        "tenant": "_acme",
    }
    return AdobeOptions(**settings | more)


def adobe(sandbox: Sandbox, programs: dict[str, tuple[str, AdobeProgramOptions]] = PROGRAMS, **more: Any) -> Adobe:
    return Adobe("aep", options(sandbox.origin, **more), programs)


def crowd(count: int, **said: Any) -> list[Event]:
    return [event(f"e{n}", sender=f"+1415555{n:04}", **said) for n in range(count)]


def statuses(results: Sequence[DeliveryError | None]) -> list[tuple[int | None, bool] | None]:
    return [(error.status, error.retryable) if error else None for error in results]


def opt_out(event_id: str = "e1", **said: Any) -> Event:
    return event(event_id, intent="opt_out", after="unsubscribed", **said)


def test_it_is_a_platform_that_warns() -> None:
    platform: type[Platform] = Adobe

    assert (platform.needs_alias, platform.makes_known, platform.one_per_sender) == (False, False, True)
    assert issubclass(Adobe, Warns)


async def test_an_opt_out_is_an_upsert_of_the_consent_of_the_channel(sandbox: Sandbox, http: HttpClient) -> None:
    results = await adobe(sandbox, identity_dataset="set-i").deliver(http, [opt_out()])
    await sandbox.until(lambda: bool(sandbox.profiles))

    assert list(results) == [None]
    ((inlet, body),) = sandbox.requests
    assert inlet == INLET
    assert body["messages"] == [
        {
            "header": {
                "flowId": "flow-c",
                "imsOrgId": ORG,
                "datasetId": "set-c",
                "operations": {"data": "merge", "identity": "create", "identityDatasetId": "set-i"},
            },
            "body": {
                "identityMap": {"Phone": [{"id": SENDER, "primary": True}]},
                "consents": {
                    "marketing": {"sms": {"val": "n", "time": "2026-02-03T10:00:00.500Z", "reason": "COUPONS by text"}},
                    "metadata": {"time": "2026-02-03T10:00:00.500Z"},
                },
            },
        }
    ]
    assert not sandbox.consented(SENDER)


async def test_a_text_is_a_unitary_event_that_starts_the_programs_journey(sandbox: Sandbox, http: HttpClient) -> None:
    sandbox.event_ids = {"ajo-event-1"}
    await adobe(sandbox).deliver(http, [event("evt_1", text="COUPONS für MICH")])
    await sandbox.until(lambda: bool(sandbox.journeys))

    ((_, body),) = sandbox.requests
    schema = {"id": SCHEMA, "contentType": "application/vnd.adobe.xed-full+json;version=1"}
    assert body["messages"] == [
        {
            "header": {
                "schemaRef": schema,
                "imsOrgId": ORG,
                "datasetId": "set-e",
                "source": {"name": "keyroute"},
                "flowId": "flow-e",
            },
            "body": {
                "xdmMeta": {"schemaRef": schema},
                "xdmEntity": {
                    "_id": "evt_1",
                    "timestamp": "2026-02-03T10:00:00.500Z",
                    "eventType": "sms.keyword",
                    "identityMap": {"Phone": [{"id": SENDER, "primary": True}]},
                    "_experience": {"campaign": {"orchestration": {"eventID": "ajo-event-1"}}},
                    "_acme": {
                        "sms": {
                            "keyword": "coupons",
                            "message_body": "coupons für mich",
                            "to_number": "20202",
                            "from_number": SENDER,
                            "sms_message_id": "SM-evt_1",
                        }
                    },
                },
            },
        }
    ]
    assert sandbox.journeys == [(SENDER, "ajo-event-1")]


async def test_a_second_text_within_five_minutes_is_taken_and_starts_nothing(
    sandbox: Sandbox, http: HttpClient
) -> None:
    sandbox.event_ids = {"ajo-event-1"}
    platform = adobe(sandbox)
    await platform.deliver(http, [event("e1")])
    await platform.deliver(http, [event("e2")])
    await sandbox.until(lambda: len(sandbox.events) == 2)

    assert len(sandbox.journeys) == 1


async def test_the_header_of_older_inlets(sandbox: Sandbox, http: HttpClient) -> None:
    await adobe(sandbox, header="legacy", event_flow=None).deliver(http, [event("evt_1", program="alerts")])

    header = sandbox.requests[0][1]["messages"][0]["header"]
    assert (header["msgType"], header["msgId"], header["xactionId"]) == ("xdmEntityCreate", "evt_1", "evt_1")
    assert "flowId" not in header


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ({"intent": "opt_in", "before": "none", "after": "subscribed"}, "y"),
        ({"intent": "opt_in", "before": "none", "after": "pending"}, "p"),
        ({"intent": "opt_out", "before": "unsubscribed", "after": "unsubscribed"}, "n"),
        ({"intent": "help"}, None),
        ({"intent": "opt_in"}, None),
    ],
)
async def test_what_becomes_of_a_consent(
    sandbox: Sandbox, http: HttpClient, said: dict[str, Any], value: str | None
) -> None:
    platform = adobe(sandbox, event_dataset=None)
    assert platform.wants(event(**said)) == (value is not None)
    await platform.deliver(http, [event(**said)])

    sent = [
        message["body"]["consents"]["marketing"]["sms"]["val"]
        for _, body in sandbox.requests
        for message in body["messages"]
    ]
    assert sent == ([value] if value else [])


async def test_a_programs_own_subscription_takes_the_channel_back_only_with_all_others(
    sandbox: Sandbox, http: HttpClient
) -> None:
    def leaving(*programs: str) -> Event:
        changes = tuple(Change(program, "subscribed", "unsubscribed") for program in programs)
        decision = Decision("opt_out", "STOP", None, "deals", "en", None, "subscribed", "unsubscribed", None, changes)
        return Event("e1", 1.0, "twilio", ("deals", "alerts"), Inbound("SM1", SENDER, "20202", "STOP"), decision)

    platform = adobe(sandbox, NAMED)
    await platform.deliver(http, [event(intent="opt_in", before="none", after="subscribed")])
    await sandbox.until(lambda: SENDER in sandbox.profiles)
    assert sandbox.consented(SENDER)
    await platform.deliver(http, [leaving("deals")])
    subscriptions = sandbox.profiles[SENDER]["marketing"]["sms"]["subscriptions"]
    await sandbox.until(lambda: subscriptions["deals"]["val"] == "n")
    assert sandbox.consented(SENDER)
    await platform.deliver(http, [leaving("deals", "alerts")])
    await sandbox.until(lambda: "news" in subscriptions)

    assert not sandbox.consented(SENDER)
    assert subscriptions["news"]["val"] == "n"


async def test_the_number_itself_can_be_told_of_too(sandbox: Sandbox, http: HttpClient) -> None:
    await adobe(sandbox, id_specific=True).deliver(http, [opt_out()])
    await sandbox.until(lambda: bool(sandbox.profiles))

    assert sandbox.profiles[SENDER]["idSpecific"]["Phone"][SENDER]["marketing"]["sms"]["val"] == "n"


async def test_consent_goes_before_the_text_and_a_text_is_not_sent_without_it(
    sandbox: Sandbox, http: HttpClient
) -> None:
    both = event(intent="custom", before="none", after="subscribed")
    sandbox.fail(503, Retry_After="7")
    results = await adobe(sandbox, event_inlet="events").deliver(http, [both])
    assert [(error.status, error.retry_after) for error in results if error] == [(503, 7.0)]
    assert sandbox.requests == []

    await adobe(sandbox, event_inlet="events").deliver(http, [both])
    assert [inlet for inlet, _ in sandbox.requests] == [INLET, "events"]


async def test_of_a_batch_only_what_the_answer_names_fails(sandbox: Sandbox, http: HttpClient) -> None:
    sandbox.refused_events = {"e1"}
    results = await adobe(sandbox).deliver(http, crowd(3))
    assert statuses(results) == [None, (400, False), None]

    sandbox.fails_entries_with = 503
    results = await adobe(sandbox).deliver(http, crowd(3))
    assert statuses(results) == [None, (503, True), None]


@pytest.mark.parametrize("status", [401, 403, 404, 501, "429"])
async def test_what_an_operator_can_mend_loses_nothing_of_a_batch_either(
    sandbox: Sandbox, http: HttpClient, status: Any
) -> None:
    sandbox.refused_events, sandbox.fails_entries_with = {"e1"}, status
    first, error, last = await adobe(sandbox).deliver(http, crowd(3))

    assert (first, last) == (None, None)
    assert error
    # Others of the batch were taken: they must not wait with it.
    assert (error.status, error.retryable, error.retry_after) == (int(status), True, None)


async def test_a_status_that_is_written_as_a_text_is_one_beside_a_transaction_too() -> None:
    answer = b'{"responses":[{"xactionId":"1","statusCode":"400","message":"unknown format"},{"xactionId":"2"}]}'
    http = Recorder(status=207, body=answer)
    platform = Adobe("aep", options("http://x.example", client_id=None, client_secret=None), PROGRAMS, time.time)

    assert statuses(await platform.deliver(http, crowd(2))) == [(400, False), None]


@pytest.mark.parametrize("channel", ["sms", "whatsapp"])
async def test_a_subscription_is_one_of_its_channel(sandbox: Sandbox, http: HttpClient, channel: Channel) -> None:
    said = event(intent="opt_in", before="none", after="subscribed")
    said = replace(said, message=replace(said.message, channel=channel))
    await adobe(sandbox, NAMED).deliver(http, [said])

    ((_, body),) = sandbox.requests
    ((name, told),) = body["messages"][0]["body"]["consents"]["marketing"].items()
    assert (name.lower(), told["subscriptions"]["deals"]["type"]) == (channel, name)


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": None, "expires_in": 60},
        {"access_token": "", "expires_in": 60},
        {"access_token": "two\nlines", "expires_in": 60},
        {"access_token": "token", "expires_in": "inf"},
        {"access_token": "token", "expires_in": "nan"},
        {"access_token": "token", "expires_in": 0},
        ["token"],
    ],
)
async def test_what_is_no_token_is_not_sent_as_one(answer: Any) -> None:
    http = Recorder(status=200, body=orjson.dumps(answer))
    platform = Adobe("aep", options("http://x.example"), PROGRAMS, time.time)
    (error,) = await platform.deliver(http, crowd(1))

    assert error
    assert (error.retryable, error.retry_after, len(http.requests)) == (True, 60.0, 1)
    assert "token_url" in error.reason


@pytest.mark.parametrize("status", [400, 413])
async def test_a_batch_refused_whole_is_halved(sandbox: Sandbox, http: HttpClient, status: int) -> None:
    sandbox.fail(status)
    results = await adobe(sandbox).deliver(http, crowd(4))

    assert list(results) == [None] * 4
    assert [len(body["messages"]) for _, body in sandbox.requests] == [2, 2]


async def test_no_request_is_larger_than_adobe_takes(sandbox: Sandbox, http: HttpClient) -> None:
    long = crowd(800, text="x" * 1600)
    results = await adobe(sandbox, batch_size=1000).deliver(http, long)

    assert list(results) == [None] * 800
    assert len(sandbox.requests) == 2


async def test_those_who_need_a_token_at_once_share_one(sandbox: Sandbox, http: HttpClient) -> None:
    sandbox.token_latency = 0.02
    platform = adobe(sandbox)
    await asyncio.gather(*(platform.deliver(http, crowd(1)) for _ in range(50)))
    assert sandbox.tokens_given == 1

    sandbox.end_tokens()
    results = await asyncio.gather(*(platform.deliver(http, crowd(1)) for _ in range(50)))
    assert [list(result) for result in results] == [[None]] * 50
    assert sandbox.tokens_given == 2


async def test_a_token_is_renewed_ahead_of_its_end(sandbox: Sandbox, http: HttpClient) -> None:
    now = [1000.0]
    sandbox.token_seconds = 1000
    platform = Adobe("aep", options(sandbox.origin), PROGRAMS, lambda: now[0])
    for at, given_by_then in ((1000.0, 1), (1899.0, 1), (1901.0, 2)):
        now[0] = at
        await platform.deliver(http, crowd(1))
        assert sandbox.tokens_given == given_by_then


async def test_a_wrong_secret_loses_nothing_and_is_told_without_being_repeated(
    sandbox: Sandbox, http: HttpClient
) -> None:
    with capture_logs() as logs:
        platform = adobe(sandbox, client_secret=Secret("not-the-secret"))
        (error,) = await platform.deliver(http, crowd(1))

    assert error
    assert (error.status, error.retryable, error.retry_after, error.outcome_unknown) == (401, True, 60.0, False)
    assert "client_secret" in error.reason
    assert "not-the-secret" not in error.reason + repr(logs)


async def test_no_answer_leaves_the_outcome_unknown(sandbox: Sandbox) -> None:
    platform = adobe(sandbox)
    async with HttpClient(0.3, True) as impatient:
        sandbox.fail(504)
        (error,) = await platform.deliver(impatient, crowd(1))

    assert error
    assert (error.retryable, error.outcome_unknown) == (True, True)


async def test_no_answer_to_the_request_for_a_token_leaves_nothing_unknown(sandbox: Sandbox) -> None:
    sandbox.token_latency = 30.0
    async with HttpClient(0.3, True) as impatient:
        (error,) = await adobe(sandbox).deliver(impatient, crowd(1))

    assert error
    assert (error.retryable, error.outcome_unknown) == (True, False)


@pytest.mark.parametrize("size", [1, 2])
async def test_no_reason_repeats_what_a_person_wrote(sandbox: Sandbox, http: HttpClient, size: int) -> None:
    sandbox.refused_events = {"e0", "e1"}
    sandbox.says = "'my street 1' is no keyword"
    results = await adobe(sandbox).deliver(http, crowd(size, text="My Street 1"))

    assert [error.reason for error in results if error and "street" in error.reason.lower()] == []
    assert all("is no keyword" in error.reason for error in results if error)


@given(any_event)
async def test_any_event_that_is_wanted_becomes_messages(said: Event) -> None:
    http = Recorder(status=207, body=b'{"responses":[{"xactionId":"1"}]}')
    platform = Adobe("aep", options("http://x.example", client_id=None, client_secret=None), PROGRAMS, time.time)
    results = await platform.deliver(http, [said])

    assert list(results) == [None]
    assert bool(http.requests) == platform.wants(said)


@pytest.mark.parametrize(
    "more",
    [
        {"client_secret": None},
        {"consent_dataset": None},
        {"event_schema": None},
        {"ims_org": "x"},
        {"tenant": "acme"},
        {"scopes": ()},
        {"event_flow": None},
        {"consent_flow": None, "consent_dataset": None, "event_dataset": None},
    ],
)
def test_options_that_cannot_work_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options("https://x.example", **more)


LOCAL = 'private_hosts = ["127.0.0.1"]\n'
TOLD = '[programs.deals.destinations.aep]\nevent_id = "ajo-event-1"\n[programs.alerts.destinations.aep]\n'


async def test_texts_arrive_through_a_server_of_its_own(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "adobe.secret").write_text(CLIENT_SECRET)
    config = write_configuration(tmp_path, extra=TOLD + destination(sandbox.origin, LOCAL))
    async with Keyroute(config) as server, aiohttp.ClientSession() as session:
        twilio = Twilio(server.origin, session)
        for message_id, text in (("SM1", "coupons"), ("SM2", "STOP")):
            assert (await twilio.text(message_id, text, to=DEALS))[0] == 200
        await sandbox.until(lambda: len(sandbox.events) == 1 and "+14155550101" in sandbox.profiles)

    assert sandbox.events[0]["_acme"]["sms"]["keyword"] == "coupons"
    assert not sandbox.consented("+14155550101")


def test_the_check_warns_of_what_adobe_does_with_it(tmp_path: Path) -> None:
    (tmp_path / "adobe.secret").write_text(CLIENT_SECRET)
    config = write_configuration(tmp_path, extra=TOLD + destination("http://127.0.0.1:1", LOCAL))
    checked = subprocess.run([KEYROUTE, "check", config], capture_output=True, text=True, check=True)

    warnings = [line for line in checked.stderr.splitlines() if line.startswith("warning: destinations.aep: ")]
    for warning, words in zip(warnings, ("once in five minutes", "takes it as given", "share"), strict=True):
        assert words in warning
