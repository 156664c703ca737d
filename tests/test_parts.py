"""Long texts that come in parts are read as one text, once, whatever is late, doubled, lost or cut short."""

import asyncio
from typing import Any

import orjson
import pytest

from router.parts import join, kept_part, place
from router.store import Group, Part, Parts
from router.types import Binary, Inbound, Media
from router.types import Part as Place
from tests.commits import until
from tests.receiving import SENDER, Start, World

NOBODY_ANSWERED: list[dict[str, Any]] = []


def parts(w: World, *words: str, ref: str = "170", **more: Any) -> list[dict[str, Any]]:
    """A text in parts, with ids that are their own."""
    return [
        w.text(said, part={"ref": ref, "total": len(words), "seq": seq}, **more) for seq, said in enumerate(words, 1)
    ]


async def texts(w: World) -> list[str]:
    """What was decided on."""
    return [entry.event.message.text for entry in await w.entries()]


async def swept(w: World, count: int) -> None:
    """Returns when so many texts were decided on."""

    async def holds() -> bool:
        return len(await w.entries()) >= count

    await until(holds)


async def waiting(w: World, now: float) -> bool:
    """Whether parts wait whose time is over by then."""
    async with w.store() as store:
        return bool(await Parts(store).due(now))


async def test_parts_are_acknowledged_at_once_and_their_text_is_answered_with_the_last(start: Start) -> None:
    async with start() as w:
        first, second = parts(w, "he", "lp")
        assert await w.replies(first) == NOBODY_ANSWERED
        assert await texts(w) == []
        (reply,) = await w.replies(second)
        (entry,) = await w.entries()

    assert reply["text"] == "Call 555."
    assert reply["id"] == entry.event.id
    assert entry.event.message.text == "help"
    assert entry.event.message.part is None
    assert entry.event.message.message_id.startswith("joined_")


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
async def test_an_opt_out_in_parts_counts_whatever_their_order(start: Start, order: tuple[int, ...]) -> None:
    async with start() as w:
        said = parts(w, "S", "TO", "P")
        replies = [await w.replies(said[index]) for index in order]
        (entry,) = await w.entries()

    assert [len(found) for found in replies] == [0, 0, 1]
    assert entry.event.decision.after == "unsubscribed"


async def test_every_part_that_comes_again_is_answered_as_the_first_time(start: Start) -> None:
    async with start() as w:
        said = parts(w, "he", "lp")
        first = [(await w.post(part)).body for part in (said[0], said[0], said[1])]
        again = [(await w.post(part)).body for part in (said[0], said[1], said[1])]

        assert await texts(w) == ["help"]
    assert first[0] == first[1] == again[0]
    assert first[2] == again[1] == again[2]


async def test_parts_in_one_request_and_beside_other_texts(start: Start) -> None:
    async with start() as w:
        replies = await w.replies(w.text("start"), *parts(w, "he", "lp"), {"bad": "no id"})

    assert [reply["text"] for reply in replies] == ["Welcome.", "Call 555."]


async def test_parts_of_two_people_two_numbers_and_two_texts_do_not_mix(start: Start) -> None:
    async with start() as w:
        said = [
            parts(w, "a1", "a2"),
            parts(w, "b1", "b2", ref="171"),
            parts(w, "c1", "c2", sender="+14155550102"),
            parts(w, "d1", "d2", recipient="+14155550199"),
            parts(w, "e1", "e2", recipient=None, recipient_ref="channel-9"),
            parts(w, "f1", "f2", recipient=None, recipient_ref="channel-8"),
        ]
        for part in (0, 1):
            for text in said:
                await w.post(text[part])
        unrouted = [letter.record["text"]["message"]["text"] for letter in await w.letters() if letter.record]

        assert sorted([*await texts(w), *unrouted]) == ["a1a2", "b1b2", "c1c2", "d1d2", "e1e2", "f1f2"]


@pytest.mark.parametrize(("total", "seq"), [(1, 1), (0, 0), (2, 3), (2, 0), (256, 1), (-1, 1)])
async def test_a_part_that_cannot_be_one_is_a_text_of_its_own(start: Start, total: int, seq: int) -> None:
    async with start() as w:
        (reply,) = await w.replies(w.text("help", part={"ref": "1", "total": total, "seq": seq}))

    assert reply["text"] == "Call 555."


async def test_when_the_last_part_is_lost_what_there_is_counts_in_order_and_is_not_answered(start: Start) -> None:
    async with start() as w:
        begun = w.clock.now
        said = parts(w, "please s", "top texting me", "!")
        await w.post(said[1])
        await w.post(said[0])
        w.clock.now += 29
        await w.post(w.text("hello"))
        w.clock.now += 2
        await swept(w, 2)
        entry = (await w.entries())[1]
        late = await w.replies(said[2])

    assert (entry.event.message.text, entry.event.at) == ("please stop texting me", begun)
    assert (entry.event.decision.intent, entry.event.decision.reply) == ("opt_out", None)
    assert late == NOBODY_ANSWERED


async def test_a_text_that_was_never_whole_does_not_overrule_what_was_said_since(start: Start) -> None:
    async with start() as w:
        await w.post(parts(w, "start", "!")[0])
        w.clock.now += 10
        await w.post(w.text("stop"))
        w.clock.now += 30
        await swept(w, 2)
        person = await w.person()

    assert person
    assert person.consent["deals"].state == "unsubscribed"


async def test_a_part_that_comes_when_the_time_was_over_is_a_text_after_another_time(start: Start) -> None:
    async with start() as w:
        said = parts(w, "one", "two")
        await w.post(said[0])
        w.clock.now += 31
        await swept(w, 1)
        await w.post(said[1])
        assert await texts(w) == ["one"]
        w.clock.now += 31
        await swept(w, 2)

        assert await texts(w) == ["one", "two"]


async def test_a_phone_that_gives_each_text_the_same_number_is_still_read(start: Start) -> None:
    async with start() as w:
        lost, whole = parts(w, "one", "two"), parts(w, "he", "lp")
        await w.post(lost[0])
        await w.post(whole[0])
        (reply,) = await w.replies(whole[1])

        assert await texts(w) == ["one", "help"]
    assert reply["text"] == "Call 555."


async def test_a_crash_between_whole_and_accepted_loses_and_doubles_nothing(start: Start) -> None:
    async with start() as w:
        said = parts(w, "he", "lp")
        await w.post(said[0])
        async with w.store() as store:
            # As far as another process got before it died.
            added = await Parts(store).add(_kept(w, said[1]), w.clock.now + 30)
            assert added.group
            assert added.taken
        assert await texts(w) == []
        (reply,) = await w.replies(said[1])
        again = await w.replies(said[1])

        assert await texts(w) == ["help"]
        assert not await waiting(w, w.clock.now + 31)
    assert reply["text"] == "Call 555."
    assert again == [reply]


async def test_a_crash_between_accepted_and_forgotten_doubles_nothing(start: Start) -> None:
    async with start() as w:
        said = parts(w, "he", "lp")
        for part in said:
            await w.post(part)
        async with w.store() as store:
            # Back to how it was before the parts were forgotten.
            await store.redis.delete(
                *[key async for key in store.redis.scan_iter(store.keys.joined(store.keys.shard_of(SENDER), "*"))]
            )
            for part in said:
                await Parts(store).add(_kept(w, part), w.clock.now + 30)
        w.clock.now += 31
        while await waiting(w, w.clock.now):
            await asyncio.sleep(0)  # a server tells nobody that it has swept

        assert await texts(w) == ["help"]


async def test_a_text_whose_processes_all_died_is_accepted_by_the_next_one(start: Start) -> None:
    async with start() as w:
        said = parts(w, "he", "lp")
        await w.post(said[0])
        async with w.store() as store:
            await Parts(store).add(_kept(w, said[1]), w.clock.now + 30)
    async with start() as w:
        w.clock.now += 31
        await swept(w, 1)

        assert await texts(w) == ["help"]


async def test_many_processes_sweep_and_each_text_is_accepted_once(start: Start) -> None:
    async with start() as one, start() as two, start() as three:
        for number in range(30):
            await one.post(parts(one, f"text {number}", "lost", ref=str(number))[0])
        for w in (one, two, three):
            w.clock.now += 31
        while await waiting(one, one.clock.now):
            await asyncio.sleep(0)  # a server tells nobody that it has swept

        assert sorted(await texts(one)) == sorted(f"text {number}" for number in range(30))


async def test_parts_that_came_while_the_store_was_away_are_joined_later(start: Start) -> None:
    async with start(url="redis://127.0.0.1:1/0") as w:
        said = parts(w, "st", "op")
        assert [(await w.post(part)).status for part in said] == [200, 200]
    async with start() as w:
        await swept(w, 1)
        (entry,) = await w.entries()

    assert (entry.event.message.text, entry.event.decision.intent, entry.event.decision.reply) == (
        "stop",
        "opt_out",
        None,
    )


async def test_parts_of_an_account_that_is_gone_are_kept_for_who_looks(start: Start) -> None:
    async with start() as w:
        part = orjson.loads(_kept(w, parts(w, "he", "lp")[0]).record) | {"account": "gone"}
        async with w.store() as store:
            await Parts(store).add(Part(SENDER, "n", "1" * 24, "a" * 24, 1, 2, orjson.dumps(part)), w.clock.now)

        async def kept() -> bool:
            return bool(await w.letters())

        await until(kept)
        (letter,) = await w.letters()

    assert letter.reason == "the account 'gone' is not configured. Configure it, then retry."
    assert letter.record
    assert letter.record["text"]["message"]["text"] == "he"


def _kept(w: World, entry: dict[str, Any]) -> Part:
    """The part of an entry as the application would keep it."""
    said = entry["text"]
    text = Inbound(said["message_id"], said["sender"], said["recipient"], said["text"], part=Place(**said["part"]))
    found = place(text)
    assert found
    return kept_part("acme", text, found, w.clock.now, late=False)


def test_what_stands_in_any_part_is_in_the_whole() -> None:
    one = Inbound("1", SENDER, "20202", "", media=(Media("a"),), binary=Binary("00", "06"), part=Place("r", 3, 1))
    two = Inbound("2", SENDER, "20202", "b", opt_out_type="STOP", payload="x", part=Place("r", 3, 2))
    three = Inbound("3", SENDER, "20202", "c", media=(Media("d"),), binary=Binary("11", "07"), part=Place("r", 3, 3))
    kept = [
        kept_part("acme", text, text.part, at, late=False) for at, text in enumerate((one, two, three)) if text.part
    ]
    long = join(Group(0, "n", "f", tuple(part.record for part in kept)))

    assert long.text == Inbound(
        message_id=long.text.message_id,
        sender=SENDER,
        recipient="20202",
        text="bc",
        media=(Media("a"), Media("d")),
        opt_out_type="STOP",
        payload="x",
        binary=Binary("0011", "06"),
    )
    assert (long.account, long.began, long.complete, long.late) == ("acme", 0, True, False)
