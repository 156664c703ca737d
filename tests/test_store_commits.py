"""One atomic call per text: first time or repeat, consent, outbox, loop guard; all over the real store."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Literal

import orjson
import pytest

from router.errors import StoreUnavailable
from router.records import read_decision
from router.store import Block, Commits, DeadLetters, Outbox, People, Store
from router.types import Change, ConsentState, Row
from tests.commits import ASK, CHAT, LATE_START, LEAVE, SENDER, START, STOP, Clock, decision, plan, rows, text


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def commits(store: Store, clock: Clock) -> Commits:
    return Commits(store, unhandled_kept=8, clock=clock, on_failure=lambda: None)


async def before(commits: Commits, name: str, *, program: str = "deals") -> str:
    """The state that a text without effect finds."""
    result = await commits.commit(text(name, LEAVE, program=program))
    state: str = read_decision(result.decision).before
    return state


async def test_a_text_is_first_once_and_its_repeat_gets_the_first_decision(commits: Commits) -> None:
    first = await commits.commit(text("a", START))
    repeat = await commits.commit(text("a", STOP))

    assert (first.first, repeat.first) == (True, False)
    assert first.decision == repeat.decision
    assert await before(commits, "b") == "subscribed"


async def test_the_same_text_sent_at_once_many_times_has_one_effect(commits: Commits, store: Store) -> None:
    results = await asyncio.gather(*(commits.commit(text("a", START)) for _ in range(300)))

    assert sum(result.first for result in results) == 1
    assert {result.decision for result in results} == {results[0].decision}
    assert len(await Outbox(store, []).read(store.keys.shard_of(SENDER), "0-0", 10)) == 1


async def test_a_question_is_put_once_until_its_time_is_over(commits: Commits, clock: Clock) -> None:
    asks = rows(lambda state: state, reply="Did you mean STOP?", asks_again_in=100)

    async def reply(name: str, program: str = "deals") -> str | None:
        answered = await commits.commit(text(name, asks, program=program))
        found: str | None = read_decision(answered.decision).reply
        return found

    first = [await reply("a"), await reply("b"), await reply("c", "alerts")]
    clock.now += 99
    second = await reply("d")
    clock.now += 2
    third = await reply("e")

    assert first == ["Did you mean STOP?", None, "Did you mean STOP?"]
    assert (second, third) == (None, "Did you mean STOP?")


async def test_texts_of_one_sender_take_effect_and_go_out_in_the_order_they_came(
    commits: Commits, store: Store
) -> None:
    names = [f"m{i}" for i in range(600)]
    await asyncio.gather(*(commits.commit(text(name, STOP if i % 2 else START)) for i, name in enumerate(names)))

    entries = await Outbox(store, []).read(store.keys.shard_of(SENDER), "0-0", 1000)
    assert [f"evt_{name}" for name in names] == [entry.event.id for entry in entries]
    states = [(entry.event.decision.before, entry.event.decision.after) for entry in entries]
    assert states[0] == ("none", "subscribed")
    assert all(before == previous for (before, _), (_, previous) in zip(states[1:], states, strict=False))


async def test_programs_of_one_person_do_not_share_their_state(commits: Commits) -> None:
    await commits.commit(text("a", STOP, program="deals"))

    assert await before(commits, "b", program="alerts") == "none"


async def test_an_opt_out_for_the_account_holds_for_every_program_until_a_later_opt_in(
    commits: Commits, clock: Clock
) -> None:
    await commits.commit(text("a", START, program="deals"))
    clock.now += 1
    await commits.commit(text("b", STOP, program="@acme"))

    assert await before(commits, "c", program="deals") == "unsubscribed"
    assert await before(commits, "d", program="alerts") == "unsubscribed"

    await commits.commit(text("e", START, program="deals"))

    assert await before(commits, "f", program="deals") == "subscribed"
    assert await before(commits, "g", program="alerts") == "unsubscribed"


async def test_an_opt_out_for_the_account_counts_each_time(commits: Commits) -> None:
    for name, said, program in [("a", STOP, "@acme"), ("b", START, "deals"), ("c", STOP, "@acme")]:
        await commits.commit(text(name, said, program=program))

    assert await before(commits, "d", program="deals") == "unsubscribed"


async def test_an_opt_out_for_the_account_in_the_same_millisecond_as_the_opt_in_before_it_holds(
    commits: Commits,
) -> None:
    await commits.commit(text("a", START, program="deals"))
    await commits.commit(text("b", STOP, program="@acme"))

    assert await before(commits, "c", program="deals") == "unsubscribed"


async def test_of_two_programs_it_is_known_which_was_spoken_of_last_also_within_a_millisecond(commits: Commits) -> None:
    both = plan(
        rows(lambda state: state, reply="deals"),
        rows(lambda state: state, reply="alerts"),
        consents=("deals", "alerts"),
    )
    for program in ("deals", "alerts"):
        await commits.commit(text(f"start {program}", START, program=program))
        await commits.commit(text(f"stop {program}", STOP, program=program))
    answered = await commits.commit(text("both", both))

    assert read_decision(answered.decision).reply == "alerts"


async def test_an_opt_out_overrules_only_the_programs_that_it_bears_on(commits: Commits) -> None:
    stop = await commits.commit(text("stop", plan(STOP, consents=("@acme",))))
    apart = replace(plan(LEAVE, LEAVE, consents=("deals", "alerts")), overruled_by=(("@other",), ("@other", "@acme")))
    found = await commits.commit(text("both", apart))

    assert stop.first
    # Of none and unsubscribed the text is about none: that is the first program.
    assert read_decision(found.decision).before == "none"
    assert await before(commits, "alone", program="alerts") == "unsubscribed"


@pytest.mark.parametrize("earlier", [None, STOP])
async def test_a_pending_state_lapses_to_what_it_was_before_however_often_it_was_asked(
    commits: Commits, clock: Clock, earlier: tuple[Row, ...] | None
) -> None:
    if earlier:
        await commits.commit(text("a", earlier))
    await commits.commit(text("b", ASK))
    clock.now += 99
    assert await before(commits, "c") == "pending"
    await commits.commit(text("d", ASK))
    clock.now += 99
    assert await before(commits, "e") == "pending"
    clock.now += 1

    assert await before(commits, "f") == ("unsubscribed" if earlier else "none")


async def test_replies_stop_at_the_hourly_limit_and_the_texts_still_count(commits: Commits, clock: Clock) -> None:
    async def reply(name: str) -> object:
        return read_decision((await commits.commit(text(name, CHAT))).decision).reply

    assert [await reply(name) for name in "abcde"] == ["hello", "hello", "hello", None, None]
    clock.now += 3600
    assert await reply("f") == "hello"


async def test_replies_stop_at_the_hourly_limit_within_one_call_too(commits: Commits) -> None:
    found = await asyncio.gather(*(commits.commit(text(name, CHAT)) for name in "abcde"))
    assert [read_decision(each.decision).reply for each in found] == ["hello", "hello", "hello", None, None]


async def test_the_limit_is_of_one_of_our_numbers_and_one_person(commits: Commits) -> None:
    async def reply(name: str, number: str) -> object:
        return read_decision((await commits.commit(text(name, CHAT, number=number))).decision).reply

    assert [await reply(f"a{place}", "2020") for place in range(4)] == ["hello", "hello", "hello", None]
    assert await reply("b", "3030") == "hello"


async def test_a_text_is_about_the_consent_in_the_state_sought_first_and_of_those_the_latest(commits: Commits) -> None:
    sought: tuple[ConsentState, ...] = ("pending", "subscribed", "none", "unsubscribed")
    three = plan(LEAVE, LEAVE, LEAVE, consents=("deals", "news", "games"), sought=sought)

    async def found(name: str) -> str:
        state: str = read_decision((await commits.commit(text(name, three))).decision).before
        return state

    assert await found("a") == "none"
    await commits.commit(text("b", START, program="news"))
    assert await found("c") == "subscribed"
    await commits.commit(text("d", ASK, program="games"))
    await commits.commit(text("e", STOP, program="@acme"))
    assert await found("f") == "unsubscribed"


async def test_what_is_meant_for_each_consent_follows_from_its_own_state_and_is_told_of_each(commits: Commits) -> None:
    await commits.commit(text("a", START, program="news"))
    await commits.commit(text("b", START, program="games"))
    choosing = rows(lambda state: "choosing" if state == "subscribed" else "unsubscribed", renews=True, expires_in=100)
    both = plan(STOP, STOP, STOP, consents=("deals", "news", "games"), writes="each", several=(choosing,) * 3)
    result = read_decision((await commits.commit(text("c", both))).decision)

    assert (result.before, result.after) == ("subscribed", "choosing")
    assert result.changes == (
        Change("deals", "none", "unsubscribed"),
        Change("news", "subscribed", "choosing"),
        Change("games", "subscribed", "choosing"),
    )


async def test_an_opt_out_of_everything_overrules_all_until_a_later_opt_in(commits: Commits) -> None:
    await commits.commit(text("a", START, program="news"))
    everything = plan(STOP, consents=("deals",), writes="@all")
    result = read_decision((await commits.commit(text("b", everything))).decision)

    assert result.changes == (Change("@all", "none", "unsubscribed"),)
    assert await before(commits, "c", program="news") == "unsubscribed"
    await commits.commit(text("d", START, program="news"))
    assert await before(commits, "e", program="news") == "subscribed"
    assert await before(commits, "f", program="deals") == "unsubscribed"


async def test_the_language_that_a_keyword_told_is_that_of_later_replies(commits: Commits, store: Store) -> None:
    replies = tuple(
        replace(row, decisions=(row.decisions[0], decision(row.before, row.after, "salut"))) for row in CHAT
    )
    chat = plan(replies, languages=("en", "fr"))

    async def reply(name: str) -> object:
        return read_decision((await commits.commit(text(name, chat))).decision).reply

    assert await reply("a") == "hello"
    await commits.commit(text("b", tuple(replace(row, language="fr") for row in LEAVE)))
    assert await reply("c") == "salut"
    person = await People(store).get(SENDER)
    assert person
    assert person.language == "fr"


async def test_a_block_is_a_fact_of_its_own_that_only_what_clears_it_ends(
    commits: Commits, store: Store, clock: Clock
) -> None:
    async def blocks() -> tuple[Block, ...]:
        person = await People(store).get(SENDER)
        return person.blocks if person else ()

    async def said(name: str, effect: Literal["set", "clear"], number: str) -> None:
        await commits.commit(text(name, tuple(replace(row, block=effect) for row in LEAVE), number=number))

    await said("a", "set", "2020")
    await said("b", "set", "3030")
    assert await before(commits, "c") == "none"
    await commits.commit(text("d", START))
    assert set(await blocks()) == {Block("acme", number, clock.now) for number in ("2020", "3030")}
    await said("e", "clear", "2020")
    assert await blocks() == (Block("acme", "3030", clock.now),)


async def test_what_is_to_be_on_record_goes_to_the_ledger_too(commits: Commits, store: Store) -> None:
    await commits.commit(text("a", LEAVE))
    await commits.commit(text("b", tuple(replace(row, recorded=True) for row in STOP), destinations=()))
    shard = store.keys.shard_of(SENDER)

    assert [entry.destinations for entry in await Outbox(store, []).read(shard, "0-0", 9)] == [
        ("crm", "braze"),
        ("@ledger",),
    ]


async def test_a_repeat_within_the_window_is_known_and_one_long_after_is_not(commits: Commits, clock: Clock) -> None:
    await commits.commit(text("a", LEAVE))
    clock.now += 86_400
    assert not (await commits.commit(text("a", LEAVE))).first
    clock.now += 86_400 + 43_200
    assert (await commits.commit(text("a", LEAVE))).first


async def test_the_longer_window_of_a_text_in_the_same_call_does_not_count_for_another(
    commits: Commits, clock: Clock
) -> None:
    await commits.commit(text("a", LEAVE))
    clock.now += 86_400 + 2 * 43_200
    longer = replace(text("b", LEAVE), dedupe_seconds=7 * 86_400)
    found = await asyncio.gather(commits.commit(longer), commits.commit(text("a", LEAVE)))
    assert [each.first for each in found] == [True, True]


async def test_of_two_decisions_within_the_window_the_later_one_is_repeated(commits: Commits, clock: Clock) -> None:
    await commits.commit(text("a", START))
    clock.now += 86_400 + 2 * 43_200
    later = await commits.commit(text("a", STOP))
    repeat = await commits.commit(replace(text("a", STOP), dedupe_seconds=7 * 86_400))
    assert (later.first, repeat.first, repeat.decision) == (True, False, later.decision)


async def test_what_the_dedupe_window_keeps_expires(commits: Commits, store: Store, prefix: str) -> None:
    await commits.commit(text("a", LEAVE))

    kept = [key async for key in store.redis.scan_iter(f"{prefix}:*}}:[sa]*:43200:*")]
    assert len(kept) == 2
    assert [86_400 < await store.redis.ttl(key) <= 3 * 43_200 for key in kept] == [True, True]


async def test_another_account_with_a_longer_window_makes_what_is_kept_last_longer(
    commits: Commits, store: Store, prefix: str
) -> None:
    for days in (1, 7, 2):
        await commits.commit(replace(text(f"of {days} days", LEAVE), dedupe_seconds=days * 86_400))

    kept = [key async for key in store.redis.scan_iter(f"{prefix}:*}}:[sa]*:43200:*")]
    assert [7 * 86_400 < await store.redis.ttl(key) <= 8 * 86_400 for key in kept] == [True, True]


async def test_what_counts_replies_expires_with_the_hour(
    commits: Commits, store: Store, clock: Clock, prefix: str
) -> None:
    clock.now += 600
    await asyncio.gather(*(commits.commit(text(name, CHAT, number=f"20{name}")) for name in "ab"))

    (key,) = [key async for key in store.redis.scan_iter(f"{prefix}:*}}:replies:*")]
    assert 0 < await store.redis.ttl(key) <= 3600 + 60
    assert await store.redis.hgetall(key) == {f"{SENDER}:20{name}".encode(): b"1" for name in "ab"}


async def test_what_was_accepted_before_a_text_that_the_store_cannot_take_counts_as_seen(
    commits: Commits, store: Store
) -> None:
    broken = "+14155550102"
    await store.redis.set(store.keys.person(broken), "no record")
    texts = [text("a", START), text("b", LEAVE, sender=broken), text("c", LEAVE)]
    found = await asyncio.gather(*map(commits.commit, texts), return_exceptions=True)
    assert [type(each) for each in found] == [StoreUnavailable] * 3

    assert not (await commits.commit(texts[0])).first
    assert (await commits.commit(texts[2])).first
    outbox = await Outbox(store, []).read(store.keys.shard_of(SENDER), "0-0", 10)
    assert [entry.event.id for entry in outbox] == ["evt_a", "evt_c"]


async def test_a_repeat_in_the_same_call_knows_how_long_ago_an_opt_out_was_confirmed(commits: Commits) -> None:
    confirms = rows(lambda _: "unsubscribed", renews=True, reply="You get no more.")
    first, repeat = await asyncio.gather(*(commits.commit(text("a", confirms)) for _ in range(2)))
    assert (first.first, repeat.first) == (True, False)
    assert repeat.standing == (("unsubscribed", 0.0),)


async def test_an_alias_that_is_known_at_acceptance_is_noted_in_the_outbox(commits: Commits, store: Store) -> None:
    await commits.commit(text("a", LEAVE))
    await store.redis.hset(store.keys.person(SENDER), "alias:braze", "1")
    await commits.commit(text("b", LEAVE))

    entries = await Outbox(store, []).read(store.keys.shard_of(SENDER), "0-0", 10)
    assert ["braze" in entry.known for entry in entries] == [False, True]
    person = await People(store).get(SENDER)
    assert person is not None
    assert person.aliases == ("braze",)


async def test_a_text_that_nobody_is_told_of_is_kept_up_to_the_cap(commits: Commits, store: Store) -> None:
    record = orjson.dumps({"kind": "text", "reason": "unrouted", "at": 5.0})
    for i in range(5):
        await commits.commit(replace(text(f"u{i}", LEAVE), destinations=(), undelivered=record))

    letters = [letter async for letter in DeadLetters(store, 8).each()]
    assert [letter.reason for letter in letters] == ["unrouted"] * 2
    assert await Outbox(store, []).read(store.keys.shard_of(SENDER), "0-0", 10) == []


async def test_scripts_are_loaded_again_when_the_server_forgot_them(commits: Commits, store: Store) -> None:
    await commits.commit(text("a", LEAVE))
    await store.redis.script_flush()

    assert (await commits.commit(text("b", LEAVE))).first


async def test_another_window_forgets_nothing_that_is_in_it(commits: Commits, clock: Clock) -> None:
    await commits.commit(text("a", LEAVE))
    clock.now += 3600
    assert not (await commits.commit(replace(text("a", LEAVE), dedupe_seconds=7 * 86_400))).first


async def test_a_late_opt_in_does_not_overrule_what_the_person_has_said_since(commits: Commits, clock: Clock) -> None:
    written = clock.now
    clock.now += 10
    await commits.commit(text("a", STOP))
    late = await commits.commit(replace(text("b", LATE_START), late_at=written))

    assert read_decision(late.decision).after == "unsubscribed"
    assert await before(commits, "c") == "unsubscribed"


async def test_late_texts_take_effect_in_the_order_in_which_they_were_written(commits: Commits, clock: Clock) -> None:
    written = clock.now
    clock.now += 10
    for i, said in enumerate([LATE_START, STOP, LATE_START]):
        await commits.commit(replace(text(f"m{i}", said), late_at=written + i / 1000))

    assert await before(commits, "x") == "subscribed"


async def test_a_late_opt_out_always_counts(commits: Commits, clock: Clock) -> None:
    written = clock.now
    clock.now += 10
    await commits.commit(text("a", START))
    await commits.commit(replace(text("b", STOP), late_at=written))

    assert await before(commits, "c") == "unsubscribed"


async def test_texts_are_told_lost_in_their_order_and_before_any_later_one(clock: Clock) -> None:
    said: list[str] = []
    store = Store("redis://127.0.0.1:1/0", prefix="x", shards=4, durability="fsync", timeout_seconds=1.0)
    commits = Commits(store, unhandled_kept=8, clock=clock, on_failure=lambda: said.append("away"))
    waiting = [commits.commit(replace(text(name, START), lost=partial(said.append, name))) for name in "abc"]
    for done in waiting:
        with pytest.raises(StoreUnavailable):
            await done
    await store.close()

    assert said == ["away", "a", "b", "c"]
