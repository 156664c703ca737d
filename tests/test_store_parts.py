"""Parts are kept until all are there or their time is over, and forgotten only when their text is accepted."""

import asyncio

import pytest

from router.store import Added, Group, Part, Parts, Store
from tests.commits import SENDER

NOW, DEADLINE = 1_800_000_000.0, 1_800_000_060.0
ABC = (b"a", b"b", b"c")


@pytest.fixture
def parts(store: Store) -> Parts:
    return Parts(store)


def part(number: int, *, total: int = 3, name: str = "letter", again: str = "", content: str = "") -> Part:
    """A part that says `a`, `b` or `c`; `again` gives it another id."""
    said = content or "abc"[number - 1]
    return Part(SENDER, name, f"{number}{again}".rjust(24, "0"), said.rjust(24, "0"), number, total, said.encode())


async def add(parts: Parts, *numbers: int) -> Added:
    """Adds parts in this order; what came of the last."""
    added = [await parts.add(part(number), DEADLINE) for number in numbers]
    assert [one.group for one in added[:-1]] == [None] * (len(added) - 1)
    return added[-1]


async def closed(parts: Parts, now: float) -> list[Group]:
    """What is due, closed."""
    return [group for place in await parts.due(now) if (group := await parts.close(*place, now))]


async def kept(store: Store) -> list[str]:
    """The names of all keys but those that a store always has."""
    names = [key.decode().rpartition("}:")[2] async for key in store.redis.scan_iter(f"{store.keys.meta[:13]}:{{*")]
    return sorted(names)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
async def test_parts_are_whole_when_the_last_comes_whatever_their_order(parts: Parts, order: tuple[int, ...]) -> None:
    added = await add(parts, *order)

    assert added.group
    assert added.taken
    assert added.group.records == ABC


async def test_a_part_that_comes_again_counts_once(parts: Parts) -> None:
    assert (await add(parts, 1, 1, 2, 2, 1)).group is None
    added = await add(parts, 3)

    assert added.group
    assert added.group.records == ABC


async def test_a_part_that_comes_again_under_another_id_counts_once(parts: Parts) -> None:
    await add(parts, 1, 2)

    assert await parts.add(part(1, again="x"), DEADLINE) == Added()
    assert (await add(parts, 3)).group


async def test_the_completing_part_that_comes_again_before_the_text_is_accepted_is_whole_again(parts: Parts) -> None:
    first = await add(parts, 1, 2, 3)
    assert await parts.add(part(3), DEADLINE) == first
    assert await parts.add(part(1), DEADLINE) == first


async def test_what_is_forgotten_is_known_for_a_while(parts: Parts, store: Store) -> None:
    group = (await add(parts, 1, 2, 3)).group
    assert group
    await parts.forget(group, 3600, completed_by=part(3).id, known=b"an answer")

    assert [(await parts.add(part(n), DEADLINE)).known for n in (1, 2, 3)] == [b"", b"", b"an answer"]
    assert await kept(store) == ["joined:letter"]
    assert 3590 < await store.redis.ttl(store.keys.joined(group.shard, "letter")) <= 3600
    await parts.forget(group, 3600)
    assert (await parts.add(part(3), DEADLINE)).known == b"an answer"


async def test_texts_of_one_phone_are_told_apart(parts: Parts) -> None:
    await add(parts, 1, 2)
    other = await parts.add(part(3, name="another", total=2), DEADLINE)

    assert other.group is None


async def test_a_phone_that_counts_badly_begins_another_text(parts: Parts) -> None:
    await add(parts, 1, 2)
    new = part(1, again="new", content="z")
    added = await parts.add(new, DEADLINE)

    assert added.group
    assert not added.taken
    assert added.group.records == ABC[:2]
    assert await parts.add(new, DEADLINE) == added
    await parts.forget(added.group, 3600)
    assert await parts.add(new, DEADLINE) == Added()
    (other,) = await closed(parts, DEADLINE)
    assert other.records == (b"z",)
    assert other.first != added.group.first


async def test_when_the_time_is_over_what_there_is_goes_on_in_order(parts: Parts) -> None:
    await add(parts, 3, 1)

    assert await parts.due(DEADLINE - 0.001) == []
    ((shard, name),) = await parts.due(DEADLINE)
    assert await parts.close(shard, name, DEADLINE - 0.001) is None
    (group,) = await closed(parts, DEADLINE)
    assert group.records == (b"a", b"c")


async def test_the_first_part_sets_the_time(parts: Parts) -> None:
    await parts.add(part(1), DEADLINE)
    await parts.add(part(2), DEADLINE + 50)

    assert len(await closed(parts, DEADLINE)) == 1


async def test_a_process_that_dies_in_between_leaves_what_another_finds(parts: Parts) -> None:
    whole = (await add(parts, 1, 2, 3)).group
    swept = await closed(parts, DEADLINE)
    assert swept == [whole]
    assert await closed(parts, DEADLINE) == swept

    await parts.forget(swept[0], 3600)
    assert await closed(parts, DEADLINE) == []


async def test_all_who_sweep_at_once_find_the_same_and_a_late_part_is_not_among_it(parts: Parts) -> None:
    await add(parts, 1, 2)
    found, late = await asyncio.gather(
        asyncio.gather(*(closed(parts, DEADLINE) for _ in range(20))), parts.add(part(3), DEADLINE)
    )
    groups = {group for groups in found for group in groups}

    assert len(groups) == 1
    if not late.taken:
        assert late.group in groups


async def test_whoever_forgets_last_does_not_forget_the_next_text(parts: Parts) -> None:
    await add(parts, 1)
    (first,) = await closed(parts, DEADLINE)
    await parts.forget(first, 3600)
    await add(parts, 2)
    await parts.forget(first, 3600)
    (second,) = await closed(parts, DEADLINE)

    assert second.records == (b"b",)


async def test_parts_of_every_shard_are_found(parts: Parts, store: Store) -> None:
    senders = [f"+1415555{number:04d}" for number in range(20)]
    for sender in senders:
        await parts.add(Part(sender, sender, "1" * 24, "a" * 24, 1, 2, b"a"), DEADLINE)

    assert {store.keys.shard_of(sender) for sender in senders} == set(range(4))
    assert len(await closed(parts, DEADLINE)) == 20
