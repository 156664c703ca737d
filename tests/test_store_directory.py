"""External ids, on a real store."""

from typing import Any

from router.store import Directory, People, Store

ANN, BEN, CARL = "+14155550101", "+14155550102", "+14155550103"


async def test_an_external_id_finds_the_person_that_it_was_learnt_for(store: Store) -> None:
    directory = Directory(store)
    await directory.learn({"ann": ANN, "ben": BEN, "ben@example.com": BEN, "Zoë ✓": ANN})

    found = await directory.find(["ann", "nobody", "Zoë ✓", "ben@example.com", "ann"])

    assert found == {"ann": ANN, "Zoë ✓": ANN, "ben@example.com": BEN}


async def test_an_external_id_moves_with_its_person(store: Store) -> None:
    directory = Directory(store)
    await directory.learn({"ann": ANN})
    await directory.learn({"ann": BEN})

    assert await directory.find(["ann"]) == {"ann": BEN}


async def test_nothing_is_asked_for_no_ids(store: Store) -> None:
    directory = Directory(store)
    await directory.learn({})

    assert await directory.find([]) == {}


async def test_a_move_takes_along_who_had_the_number_and_nobody_who_gets_it_later(store: Store) -> None:
    directory = Directory(store)
    await directory.learn({"first": ANN})
    await directory.move(ANN, BEN)
    await directory.learn({"second": ANN})
    await directory.move(ANN, CARL)
    await directory.learn({"third": ANN})

    assert await directory.find(["first", "second", "third"]) == {"first": BEN, "second": CARL, "third": ANN}


async def test_moves_back_and_forth_come_to_an_end(store: Store) -> None:
    directory = Directory(store)
    await directory.learn({"u1": ANN})
    for old, new in [(ANN, BEN), (BEN, ANN), (ANN, BEN), (BEN, CARL), (CARL, ANN), (ANN, ANN)]:
        await directory.move(old, new)

    assert await directory.find(["u1"]) == {"u1": ANN}


async def test_a_number_is_forgotten_with_the_ids_that_lead_to_it_and_no_others(store: Store) -> None:
    directory = Directory(store)
    dora = "+14155550104"
    await directory.learn({"moved on": ANN, "ben": BEN, "dora": dora})
    await directory.move(ANN, BEN)
    await directory.move(BEN, CARL)
    await directory.learn({"ann": ANN, "later": BEN})
    await directory.move(ANN, BEN)

    assert await directory.forget(BEN) == 2
    assert await directory.find(["moved on", "ben", "dora", "ann", "later"]) == {
        "moved on": CARL, "ben": CARL, "dora": dora,
    }  # fmt: skip
    assert not any(BEN.encode() in kept for kept in await _everything(store))
    assert await directory.forget(BEN) == 0

    await directory.learn({"new": BEN})
    await directory.move(BEN, dora)

    assert await directory.find(["new", "ann"]) == {"new": dora}


async def _everything(store: Store) -> list[bytes]:
    """All names of the directory, and all that it holds."""
    found: list[Any] = []
    async for key in store.redis.scan_iter(match=store.keys.moved_from()):
        found += [key, *await store.redis.lrange(key, 0, -1)]
    for shard in range(store.keys.shards):
        async for key in store.redis.scan_iter(match=f"{store.keys.externals(shard)}*"):
            found += await store.redis.hvals(key)
    return found


async def test_somebody_can_be_known_by_nothing_but_the_number(store: Store) -> None:
    directory, people = Directory(store), People(store)
    await directory.name([ANN])
    await directory.speak({BEN: "fr"})
    found = [await people.get(each) for each in (ANN, BEN, CARL)]

    assert [person is not None for person in found] == [True, True, False]
    assert [person.consent for person in found if person] == [{}, {}]
