"""Random files against a small model of states, told from the rules and not from the code."""

import asyncio
import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import StoreUnavailable
from router.store import Store
from tests.commits import until
from tests.importing import ANN, BEN, GROUPS, HEADER, changes, consents, give, imported

NOW = 1_800_000_000_000_000
IN, NOT = "subscribed", "unsubscribed"
#: The consents of a record, as `give` writes them.
FIELDS = ("deals", "alerts", "at_acme", "at_other", "at_all")
Record = dict[str, tuple[str, int]]


@dataclass(frozen=True)
class Trial:
    """What is on record, the rows of a file and the options."""

    records: dict[str, Record]
    rows: list[tuple[str, str, str]]
    as_of: int | None
    override: bool


def trials() -> st.SearchStrategy[Trial]:
    """Times are few and close, so that they often tie."""
    times = st.integers(NOW - 5, NOW - 1)
    own = st.tuples(st.sampled_from((IN, NOT, "pending")), times)
    wider = st.tuples(st.sampled_from((NOT, "choosing")), times)
    fields = {name: wider if name.startswith("at_") else own for name in FIELDS}
    row = st.tuples(
        st.sampled_from((ANN, BEN, "20202", "")),
        st.sampled_from(("g-deals", "alerts", "x")),
        st.sampled_from((IN, NOT, "")),
    )
    return st.builds(
        Trial,
        st.fixed_dictionaries({sender: st.fixed_dictionaries({}, optional=fields) for sender in (ANN, BEN)}),
        st.lists(row, max_size=12),
        st.none() | st.integers(NOW - 6, NOW),
        st.booleans(),
    )


def model(trial: Trial, records: dict[str, Record]) -> tuple[list[int], list[list[str]]]:
    """Changes the records as the rows say; the lines that are refused, and what is on record of the changes."""
    refused, told = [], []
    names = {group.id: group for group in GROUPS.values()}
    for line, (sender, name, says) in enumerate(trial.rows, start=2):
        if sender not in records or name not in names or not says:
            refused.append(line)
            continue
        group, record = names[name], records[sender]
        said = [record[field] for field in group.consents if field in record]
        state, since = max(said, key=lambda found: found[1], default=("none", 0))
        out = state in (NOT, "choosing")
        if state == says or (out and says == NOT):
            continue
        later = out if trial.as_of is None else since > trial.as_of or (out and since == trial.as_of)
        # What is said once the import has begun is overridden by none of its rows.
        if later and state != "none" and not (out and trial.override and since < NOW):
            refused.append(line)
            continue
        record[group.program] = (says, max(trial.as_of or NOW, since + 1))
        told.append([sender, group.program, state, says])
    return refused, told


def latest(record: Record) -> dict[str, str]:
    """The state of each program."""
    said = {name: [record[field] for field in group.consents if field in record] for name, group in GROUPS.items()}
    return {name: max(found, key=lambda one: one[1])[0] for name, found in said.items() if found}


async def check(url: str, trial: Trial) -> None:
    """Imports the file twice, the model too."""
    records: dict[str, Record] = {
        sender: {name.replace("at_", "@"): said for name, said in record.items()}
        for sender, record in trial.records.items()
    }
    content = HEADER + "".join(f"{','.join(row)}\n" for row in trial.rows)
    store = Store(url, prefix=uuid.uuid4().hex, shards=2, durability="fsync", timeout_seconds=5.0)

    async def answers() -> bool:
        with suppress(StoreUnavailable):
            await store.ping()
            return True
        return False

    try:
        await until(answers)
        for sender, record in trial.records.items():
            lapsing = {name: f":{NOW * 2}:none" if state == "pending" else "" for name, (state, _) in record.items()}
            await give(store, sender, **{n: f"{state} {at}{lapsing[n]}" for n, (state, at) in record.items()})
        told: list[list[str]] = []
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(2):
                options = {"as_of": trial.as_of and trial.as_of / 1e6, "override_opt_outs": trial.override}
                found = await imported(store, Path(folder), content, None, **options)
                refused, more = model(trial, records)
                told += more
                assert list(found.refused) == refused
        for sender, modelled in records.items():
            kept: Record = {
                name: (one.state, round(one.since * 1e6)) for name, one in (await consents(store, sender)).items()
            }
            assert latest(kept) == latest(modelled)
        assert sorted(await changes(store)) == sorted(told)
    finally:
        await store.close()


@settings(max_examples=150)
@given(trials())
def test_any_file_does_what_the_rules_say(embedded_url: str, trial: Trial) -> None:
    asyncio.run(check(embedded_url, trial))
