"""Imports into a store, and what came of them: material for tests of files of consent."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from router.groups import Group
from router.imports.job import Done, Job, Options
from router.store import LEDGER, Consent, People, Store
from router.types import Proof
from tests.commits import Clock

ANN, BEN, CLEO = "+14155550101", "+447400123456", "+33612345678"
#: Two programs, one with a name outside, of two accounts.
GROUPS = {
    "deals": Group("g-deals", "deals", ("deals", "@acme", "@api", "@all")),
    "alerts": Group("alerts", "alerts", ("alerts", "@other", "@api", "@all")),
}
HEADER = "phone,subscription_group_id,subscription_state\n"
PROOF = Proof("https://example.com/join", "Yes, text me.", "ann")


@dataclass
class Imported:
    """What an import has done. `refused`: line → reason; `report`: the report's rows, its header first."""

    done: Done
    refused: dict[int, str]
    report: list[list[str]]


async def imported(
    store: Store, folder: Path, content: str | bytes, clock: Clock | None = None, **options: Any
) -> Imported:
    """Imports what a file holds."""
    file, refused = folder / "people.csv", folder / "people.refused.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    job = Job(Options(file, refused, PROOF, **options), GROUPS, "store")
    done = await job.run(store, clock or Clock(), "run", lambda _: None)
    report = read_report(refused)
    return Imported(done, {int(line): reason for line, reason, *_ in report[1:]}, report)


def read_report(path: Path) -> list[list[str]]:
    """The rows of a report, nothing if there is none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


async def give(store: Store, sender: str, **fields: str) -> None:
    """Writes consents into somebody's record: `deals`, or `at_acme` for `@acme`."""
    for name, value in fields.items():
        await store.redis.hset(store.keys.person(sender), f"consent:{name.replace('at_', '@')}", value)


async def consents(store: Store, sender: str) -> dict[str, Consent]:
    """What somebody has said."""
    person = await People(store).get(sender)
    return person.consent if person else {}


async def states(store: Store, sender: str) -> dict[str, str]:
    """The same, states only."""
    return {name: consent.state for name, consent in (await consents(store, sender)).items()}


async def entries(store: Store) -> list[dict[str, Any]]:
    """What waits for the ledger, by shard and order."""
    found = []
    for shard in range(store.keys.shards):
        waiting: Any = await store.redis.xrange(store.keys.outbox(shard))
        for _, fields in waiting:
            assert (fields[b"to"].decode(), fields[b"decision"]) == (LEDGER, b"{}")
            found.append(orjson.loads(fields[b"message"]))
    return found


async def changes(store: Store) -> list[list[Any]]:
    """The rows of those entries, less since and line."""
    return [row[:4] for entry in await entries(store) for row in entry["rows"]]
