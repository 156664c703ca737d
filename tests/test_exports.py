"""Which rows an export has of a person, on a real store."""

import pytest

from router.exports import Exported, rows, unknown
from router.store import Exports, Store
from tests.importing import ANN, GROUPS, give

#: The clock of the tests, in µs.
NOW = 1_800_000_000_000_000
IN, NOT = "subscribed", "unsubscribed"

CASES: list[tuple[str, dict[str, str], Exported | None, dict[str, str]]] = [
    ("states", {"deals": f"{IN} 1", "alerts": f"{NOT} 2"}, None, {"g-deals": IN, "alerts": NOT}),
    ("nothing said of a program", {"deals": f"{IN} 1"}, None, {"g-deals": IN}),
    ("one state", {"deals": f"{IN} 1", "alerts": f"{NOT} 2"}, "subscribed", {"g-deals": IN}),
    (
        "out of an account",
        {"deals": f"{IN} 1", "alerts": f"{IN} 1", "at_acme": f"{NOT} 2"},
        None,
        {"g-deals": NOT, "alerts": IN},
    ),
    ("out of an account before", {"deals": f"{IN} 3", "at_acme": f"{NOT} 2"}, None, {"g-deals": IN}),
    ("out of everything", {"deals": f"{IN} 1", "at_all": f"{NOT} 2"}, None, {"g-deals": NOT, "alerts": NOT}),
    ("choosing what to keep", {"at_all": f"choosing 2:{NOW + 1}:{NOT}"}, None, {"g-deals": NOT, "alerts": NOT}),
    ("asked to confirm", {"deals": f"pending 2:{NOW + 1}:none"}, None, {}),
    ("asked to confirm, asked for", {"deals": f"pending 2:{NOW + 1}:none"}, "pending", {"g-deals": "pending"}),
    ("asked in vain", {"deals": f"pending 2:{NOW}:none"}, None, {}),
    ("asked in vain, out before", {"deals": f"pending 2:{NOW}:{NOT}"}, None, {"g-deals": NOT}),
    ("another program", {"gone": f"{IN} 1"}, None, {}),
]


@pytest.mark.parametrize(("record", "state", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_rows(record: dict[str, str], state: Exported | None, expected: dict[str, str], store: Store) -> None:
    await give(store, ANN, **record)
    ((sender, person),) = [found async for found in Exports(store).people()]
    found = list(rows(sender, person, list(GROUPS.values()), state, NOW / 1e6))

    assert {row[0] for row in found} <= {ANN}
    assert {row[1]: row[2] for row in found} == expected
    assert unknown(person, list(GROUPS.values())) == ("gone" in record)


async def test_everybody_is_there_with_language_and_date(store: Store) -> None:
    for number in range(2500):
        await give(store, f"+1415{number:07d}", deals=f"{IN} 1700000000123456")
    await store.redis.hset(store.keys.person("+14150000007"), "lang", "fr")
    everybody = Exports(store).people()
    found = [row async for sender, person in everybody for row in rows(sender, person, [GROUPS["deals"]], None, 2e9)]

    assert len(found) == 2500
    assert ("+14150000007", "g-deals", IN, "fr", "2023-11-14T22:13:20.123456+00:00") in found


async def test_of_nobody_there_is_nothing(store: Store) -> None:
    assert [found async for found in Exports(store).people()] == []
