"""What comes of the things that a carrier's request can hold, through the real application and a real store."""

import asyncio
from dataclasses import dataclass, field

import orjson
import pytest
from structlog.testing import capture_logs

from router.errors import DeliveryError
from router.store import Block
from router.types import Answer, HttpResponse
from tests.asgi import metric
from tests.receiving import CONFIGURATION, OURS, SENDER, SHORT, Start
from tests.standins.post import KEY_URL
from tests.standins.recorder import Recorder


async def test_the_path_is_handed_on_as_it_came(start: Start) -> None:
    async with start() as w:
        w_path = "/in/%61cme"
        assert (await w.post({"bad": "why"}, path=w_path)).status == 400
        (letter,) = await w.letters()

    assert letter.record
    assert letter.record["request"]["path"] == w_path


@pytest.mark.parametrize(
    ("account", "url"),
    [
        ("", "http://127.0.0.1:8080/in/acme"),
        ('public_url = "https://sms.example.com/x"', "https://sms.example.com/x"),
        ("trust_proxy_headers = true", None),
    ],
)
async def test_a_carrier_knows_the_address_that_it_was_given(start: Start, account: str, url: str | None) -> None:
    async with start(account=account) as w:
        assert orjson.loads((await w.post()).body)["url"] == url


async def test_a_reply_is_a_text_from_the_number_to_the_person_under_the_events_id(start: Start) -> None:
    async with start() as w:
        first = await w.replies(w.text("help", "1", recipient="20202 ", sender="1 415 555 0101".replace(" ", "")))
        again = await w.replies(w.text("help", "1"))
        (entry,) = await w.entries()

    assert first == [
        {"id": entry.event.id, "sender": SHORT, "recipient": SENDER, "text": "Call 555.", "channel": "sms"}
    ]
    assert again == first


async def test_a_repeat_is_answered_with_the_reply_only_while_the_person_may_still_get_it(start: Start) -> None:
    async with start() as w:
        hello, stop = w.text("hello"), w.text("STOP")
        assert [reply["text"] for reply in await w.replies(hello)] == ["What?"]
        assert [reply["text"] for reply in await w.replies(hello)] == ["What?"]
        assert [reply["text"] for reply in await w.replies(stop)] == ["Goodbye."]

        assert await w.replies(hello) == []
        w.clock.now += 299
        assert [reply["text"] for reply in await w.replies(stop)] == ["Goodbye."]
        w.clock.now += 2
        assert await w.replies(stop) == []
        assert len(await w.entries()) == 2


async def test_another_stop_does_not_make_the_confirmation_of_the_first_one_young_again(start: Start) -> None:
    async with start() as w:
        stop = w.text("STOP")
        await w.replies(stop)
        w.clock.now += 3600
        assert await w.replies(w.text("STOP")) == []

        assert await w.replies(stop) == []


async def test_a_carrier_that_gives_no_replies_in_its_answer_is_given_none(start: Start) -> None:
    async with start("messenger") as w:
        assert await w.replies(w.text("help")) == []
        (entry,) = await w.entries()

    assert entry.event.decision.reply == "Call 555."


async def test_what_the_carrier_answers_by_itself_is_left_to_it(start: Start) -> None:
    async with start() as w:
        by_carrier = await w.replies(w.text("stop", recipient=OURS))
        welcome = await w.replies(w.text("start", recipient=OURS))
        by_us = await w.replies(w.text("stop"))

    assert by_carrier == []
    assert [reply["text"] for reply in welcome + by_us] == ["Welcome.", "Goodbye."]


async def test_who_opts_out_in_the_same_request_gets_no_reply_to_what_they_said_before(start: Start) -> None:
    async with start() as w:
        replies = await w.replies(w.text("start"), w.text("help"), w.text("stop"))

    assert [reply["text"] for reply in replies] == ["Call 555.", "Goodbye."]


async def test_who_has_opted_out_gets_no_reply_to_an_earlier_text_that_is_offered_again(start: Start) -> None:
    async with start() as w:
        start_text, stop_text = w.text("start"), w.text("stop")
        first = [await w.replies(text) for text in (start_text, stop_text)]
        again = [await w.replies(text) for text in (start_text, stop_text)]

    assert [reply["text"] for answer in first for reply in answer] == ["Welcome.", "Goodbye."]
    assert [reply["text"] for answer in again for reply in answer] == ["Goodbye."]


# Entries that make no sense


async def test_the_neighbours_of_an_entry_that_makes_no_sense_are_accepted(start: Start) -> None:
    async with start() as w:
        replies = await w.replies(w.text("help"), {"bad": "no id"}, w.text("x", sender="?"), w.text("start"))
        (letter,) = await w.letters()
        entries = await w.entries()

    assert [reply["text"] for reply in replies] == ["Call 555.", "Welcome."]
    assert [entry.event.message.text for entry in entries] == ["help", "start"]
    assert letter.kind == "request"
    assert letter.reason == "no id; the sender (from) is neither a phone number, nor a short code, nor a name."


async def test_entries_of_which_none_makes_sense_are_a_malformed_request(start: Start) -> None:
    async with start() as w:
        reply = await w.post({"bad": "no id"}, {"bad": "no sender"})

        assert (reply.status, reply.body) == (400, b"no id; no sender")
        assert [letter.kind for letter in await w.letters()] == ["request"]


async def test_a_receipt_beside_an_entry_that_makes_no_sense_is_good(start: Start) -> None:
    receipt = {"message_id": "1", "sender": OURS, "recipient": SENDER, "failure": None}
    async with start() as w:
        assert (await w.post({"bad": "no id"}, {"receipt": receipt})).status == 200
        assert [letter.kind for letter in await w.letters()] == ["request"]


# Receipts


async def test_receipts_are_counted_and_leave_no_trace(start: Start) -> None:
    receipt = {"message_id": "1", "sender": OURS, "recipient": SENDER}
    async with start() as w:
        for failure in (None, None, "throttled"):
            assert (await w.post({"receipt": receipt | {"failure": failure}})).status == 200
        counted = [
            await metric(w.app, "keyroute_receipts_total", account="acme", outcome=outcome)
            for outcome in ("delivered", "throttled")
        ]

        assert counted == [2, 1]
        assert await w.person() is None


async def test_who_has_opted_out_at_the_carrier_is_remembered_and_a_delivery_lifts_nothing(start: Start) -> None:
    receipt = {"message_id": "1", "sender": OURS.removeprefix("+"), "recipient": SENDER.removeprefix("+")}
    async with start() as w:
        at = w.clock.now
        await w.post({"receipt": receipt | {"failure": "opted_out", "code": "21610"}})
        w.clock.now += 10
        await w.post({"receipt": receipt | {"failure": None}})
        person = await w.person()

    assert person
    assert person.blocks == (Block("acme", OURS, at),)
    assert person.consent == {}


async def test_a_receipt_that_names_no_number_or_nobody(start: Start) -> None:
    receipt = {"message_id": "1", "sender": None, "failure": "opted_out"}
    async with start() as w:
        assert (await w.post({"receipt": receipt | {"recipient": None}})).status == 200
        assert (await w.post({"receipt": receipt | {"recipient": "US.13491208655302741918"}})).status == 200
        person = await w.person("US.13491208655302741918")

    assert person
    assert [block.number for block in person.blocks] == [None]


# Addresses that the carrier does not give


@pytest.mark.parametrize(
    ("given", "reference", "found"),
    [(None, "channel-1", OURS), (SHORT, "channel-1", SHORT), (None, "channel-3", None), (None, None, None)],
)
async def test_a_number_is_found_by_what_the_carrier_calls_it(
    start: Start, given: str | None, reference: str | None, found: str | None
) -> None:
    async with start() as w:
        replies = await w.replies(w.text("start", recipient=given, recipient_ref=reference))
        entries, letters = await w.entries(), await w.letters()

    assert [reply["sender"] for reply in replies] == ([found] if found else [])
    assert [entry.event.message.recipient for entry in entries] == ([found] if found else [])
    assert ["unrouted" in letter.reason for letter in letters] == ([] if found else [True])
    if not found:
        assert letters[0].record
        assert letters[0].record["text"]["message"]["recipient"] is None


async def test_an_opt_out_for_no_number_counts_for_the_account_and_is_complete(start: Start) -> None:
    async with start() as w:
        await w.post(w.text("start"))
        await w.post(w.text(recipient=None, kind="preference", opt_out_type="STOP"))
        await w.post(w.text("hello"))
        entries, letters = await w.entries(), await w.letters()

    assert letters == []
    decided = [(entry.event.decision.program, entry.event.decision.before) for entry in entries]
    assert decided == [("deals", "none"), (None, "none"), ("deals", "unsubscribed")]
    assert entries[1].event.message.recipient is None
    assert entries[1].event.programs == ("deals",)


# What is no text


@pytest.mark.parametrize(
    ("said", "intent", "after"), [("STOP", "opt_out", "unsubscribed"), ("START", "opt_in", "subscribed")]
)
async def test_a_preference_is_what_the_carrier_says_and_never_answered(
    start: Start, said: str, intent: str, after: str
) -> None:
    async with start() as w:
        words = {"STOP": "start", "START": "stop"}[said]
        replies = await w.replies(w.text(words, kind="preference", opt_out_type=said, scope="marketing"))
        (entry,) = await w.entries()

    assert replies == []
    decision = entry.event.decision
    assert (decision.intent, decision.after, decision.reply) == (intent, after, None)
    assert (decision.rule, decision.keyword) == (f"preference:{said}", None)
    assert (entry.event.message.kind, entry.event.message.scope) == ("preference", "marketing")


async def test_a_preference_without_a_word_means_nothing(start: Start) -> None:
    async with start() as w:
        assert await w.replies(w.text("stop", kind="preference")) == []
        (entry,) = await w.entries()

    assert (entry.event.decision.intent, entry.event.decision.rule) == ("none", None)


async def test_a_binary_text_is_kept_and_never_answered(start: Start) -> None:
    binary = {"data_hex": "001122", "udh_hex": "0605"}
    async with start() as w:
        assert await w.replies(w.text(binary=binary)) == []
        (entry,) = await w.entries()

    message = entry.event.message
    assert message.binary
    assert (message.text, message.binary.data_hex, entry.event.decision.intent) == ("", "001122", "none")


# Keys and handshakes


@dataclass
class Flaky:
    """An `Http` that fails at first."""

    failures: int
    asked: list[str] = field(default_factory=list)

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> HttpResponse:
        self.asked.append(url)
        if len(self.asked) <= self.failures:
            raise DeliveryError("keys.example.com is away.", retryable=True)
        return HttpResponse(200, {}, b"good")


async def test_keys_are_fetched_before_a_request_is_believed(start: Start) -> None:
    http = Flaky(failures=1)
    async with start("courier", "retries = true", http) as w:
        foreign = await w.post(w.text("help"), headers={"x-key": "https://elsewhere.example.com/"})
        assert http.asked == []
        away = await w.post(w.text("help"), headers={"x-key": KEY_URL})
        accepted = await w.post(w.text("help"), headers={"x-key": KEY_URL})
        counted = [
            await metric(w.app, "keyroute_requests_total", outcome=outcome)
            for outcome in ("BadSignature", "DeliveryError", "accepted")
        ]

    assert (foreign.status, away.status, accepted.status) == (403, 503, 200)
    assert http.asked == [KEY_URL, KEY_URL]
    assert counted == [1, 1, 1]


async def test_without_another_client_nothing_private_is_fetched(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.standins.post.KEY_URL", "https://localhost/key")
    async with start("courier", "retries = true") as w:
        with capture_logs() as logs:
            assert (await w.post(headers={"x-key": "https://localhost/key"})).status == 503

    assert ["not at a public address" in line["reason"] for line in logs if "reason" in line] == [True]


@pytest.mark.parametrize("status", [200, 403])
async def test_a_handshake_is_answered_and_its_url_visited_afterwards(start: Start, status: int) -> None:
    http = Recorder(status)
    url = "https://carrier.example.com/confirm?token=s3cret"
    async with start(http=http) as w:
        with capture_logs() as logs:
            reply = await w.post({"handshake": {"visit": url}})
            before = list(http.urls)
            while not [line for line in logs if "address" in line["event"]]:
                await asyncio.sleep(0)
        counted = await metric(w.app, "keyroute_requests_total", outcome="handshake")

    assert (reply.status, reply.body) == (200, b"it is us")
    assert before == []
    assert http.urls == [("GET", url)]
    assert counted == 1
    assert ["Have it ask for confirmation again" in line["event"] for line in logs] == [status != 200]
    assert "s3cret" not in str(logs)


class Silence:
    """An `Http` that never answers."""

    def __init__(self) -> None:
        self.asked = 0

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> HttpResponse:
        self.asked += 1
        await asyncio.Event().wait()
        raise AssertionError


async def test_visits_are_bounded_and_end_with_the_server(start: Start) -> None:
    http = Silence()
    async with start(http=http) as w:
        with capture_logs() as logs:
            replies = [await w.post({"handshake": {"visit": "https://carrier.example.com/"}}) for _ in range(20)]
        await asyncio.sleep(0)
        asked = http.asked

    assert [reply.status for reply in replies] == [200] * 20
    assert asked == 16
    assert len([line for line in logs if "not confirmed" in line["event"]]) == 4


async def test_a_handshake_and_a_receipt_need_no_store(start: Start) -> None:
    receipt = {"message_id": "1", "sender": OURS, "recipient": SENDER, "failure": None}
    async with start(account="retries = true", url="redis://127.0.0.1:1/0") as w:
        handshake = await w.post({"handshake": {}})
        counted = await w.post({"receipt": receipt})
        blocked = await w.post({"receipt": receipt | {"failure": "opted_out"}})

    assert (handshake.status, counted.status, blocked.status) == (200, 200, 503)


@pytest.mark.parametrize(("retries", "refused"), [("true", 2), ("false", 0)])
async def test_who_comes_again_is_asked_to_when_too_many_texts_wait(start: Start, retries: str, refused: int) -> None:
    crowded = CONFIGURATION.replace("[limits]", "[limits]\nwaiting_texts = 3")
    async with start(account=f"retries = {retries}", configuration=crowded) as w:
        replies = await asyncio.gather(*(w.post(w.text("hello")) for _ in range(5)))
        assert sorted(reply.status for reply in replies) == [200] * (5 - refused) + [503] * refused
        assert await metric(w.app, "keyroute_requests_total", account="acme", outcome="Overloaded") == refused
        assert (await w.post(w.text("hello"))).status == 200  # there is room again


async def test_a_text_that_comes_in_an_outage_is_in_line_for_the_disk_before_the_outage_can_end(start: Start) -> None:
    async with start(account="retries = false") as w:
        reception = w.app.state.webhooks.reception
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        reception.outage.begin()
        reception.begin(w.request(w.text("STOP")), answered.set_result)

        assert not reception.outage.spill.empty  # an outage ends where it is, within one step of the loop
        assert (await answered).status == 200
        await reception.outage.over_within(10)
        assert [entry.event.message.text for entry in await w.entries()] == ["STOP"]


async def test_a_repeat_whose_first_decision_cannot_be_read_is_not_left_without_an_answer(start: Start) -> None:
    async with start() as w, asyncio.timeout(10):
        said = w.text("help")
        await w.replies(said)
        async with w.store() as store:
            (answers,) = [
                key async for key in store.redis.scan_iter(store.keys.meta.removesuffix("meta") + "*:answers:*")
            ]
            for decision in await store.redis.hkeys(answers):
                await store.redis.hset(answers, decision, "{")

        assert (await w.post(said)).status == 500
