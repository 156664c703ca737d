"""External ids, on a real store."""

from router.store import Directory, Store

ANN, BEN = "+14155550101", "+14155550102"


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
