"""What the ledger says of what the application does: nothing that did not happen, and nothing less than did."""

from collections.abc import Iterator, Mapping
from typing import Any

from router.config import load
from router.delivery.ledger import recording
from router.ledger.drafts import Asked, read_entry
from router.ledger.rows import Draft
from router.routing import Routing
from router.store import LEDGER
from tests.calling import ANNA, Caller
from tests.receiving import CONFIGURATION, OURS, Start, World

ASKED_LATER = CONFIGURATION.replace('name = "Deals"', 'name = "Deals"\nopt_in = "subscribe_first"').replace(
    'opt_in = "Welcome."', 'opt_in = "Welcome."\nprompt = "YES?"'
)


async def on_record(world: World) -> list[Draft]:
    """The rows that follow from what was decided, by what a worker knows of the accounts."""
    settings = load(world.config)
    kept = recording(settings, Routing(settings))
    entries = [entry for entry in await world.entries() if LEDGER in entry.destinations]
    return list(_drafts(read_entry(entry, kept.providers, kept.channels) for entry in entries))


def _drafts(found: Iterator[Asked | list[Draft]]) -> Iterator[Draft]:
    for drafts in found:
        assert not isinstance(drafts, Asked)
        yield from drafts


def some(fields: Mapping[str, Any] | None, *names: str) -> tuple[Any, ...]:
    """Some fields of a row."""
    assert fields is not None
    return tuple(fields[name] for name in names)


async def test_a_yes_that_changes_nothing_is_proof_all_the_same(start: Start) -> None:
    async with start(configuration=ASKED_LATER) as w:
        await w.post(w.text("START"), w.text("YES"))
        rows = await on_record(w)

    assert [some(row.public, "direction", "before", "after", "keyword") for row in rows] == [
        ("granted", "none", "subscribed", "START"),
        ("confirmed", "subscribed", "subscribed", "YES"),
    ]


async def test_a_block_bears_the_carriers_own_id_of_the_text_that_was_not_sent(start: Start) -> None:
    async with start() as w:
        receipt = {"message_id": "SM1", "sender": OURS, "recipient": "+14155550101", "failure": "opted_out"}
        await w.post({"receipt": receipt})
        (row,) = await on_record(w)

    assert some(row.public, "direction", "method", "sender_number", "provider") == (
        "provider_block", "provider", OURS, "post",
    )  # fmt: skip
    assert some(row.private, "message_id", "phone") == ("SM1", "+14155550101")


async def test_who_was_asked_and_is_subscribed_by_a_call_has_confirmed_nothing(api: Caller) -> None:
    await api.says("START", to="20202")
    await api.set("subscribed", ANNA, group="deals")
    rows = await on_record(api)

    assert [some(row.public, "direction", "method", "before", "after") for row in rows] == [
        ("granted", "keyword", "none", "pending"),
        ("granted", "api", "pending", "subscribed"),
    ]


async def test_the_question_that_a_call_asks_for_is_not_said_to_be_sent_before_it_is(api: Caller) -> None:
    state = {"subscription_group_id": "deals", "subscription_state": "subscribed", "use_double_opt_in_logic": True}
    person = {"phone": ANNA, "subscription_groups": [state]}
    await api.track(attributes=[person])
    (row,) = await on_record(api)

    assert some(row.public, "method", "before", "after", "provider") == ("api", "none", "pending", None)
    assert some(row.public["reply"], "at", "text") == (None, "Reply YES.")
    assert row.private is not None
    assert row.private["operator"] == "all"


async def test_a_reply_in_the_answer_to_a_text_has_its_time(start: Start) -> None:
    async with start() as w:
        await w.post(w.text("Stop please!!"))
        (row,) = await on_record(w)

    assert some(row.public["reply"], "at", "text") == (row.public["received_at"], "Goodbye.")
