"""The page on the ledger says what rows are made of, and its lines of Python check them."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from router.store import Store
from tests.ledgers import LedgerBench

PAGE = (Path(__file__).parent.parent / "docs" / "ledger.md").read_text()


def documented(heading: str) -> set[str]:
    """The keys in the first column of a section's table."""
    section = PAGE.partition(f"{heading}\n")[2].partition("\n## ")[0]
    return {key for row in re.findall(r"(?m)^\| (`[^|]+)\|", section) for key in re.findall(r"`(\w+)`", row)}


@pytest.fixture
async def lines(store: Store, tmp_path: Path) -> list[bytes]:
    """A row of a text, one of an import, and one of an erasure."""
    bench = LedgerBench(store, str(tmp_path))
    await bench.accept(0, said="arrêt 🎁", reply="Désabonné.")
    imported = [bench.senders[0], "deals", "unsubscribed", "subscribed", 1_500_000, 3]
    about = {"v": 1, "id": "imp_1", "at": 1.0, "proof": {}, "source": "FILE a.csv"}
    await bench.ledger.ask(0, about | {"rows": [imported]})
    await bench.catch_up()
    return await bench.lines()


async def test_it_lists_every_key(lines: list[bytes]) -> None:
    rows: list[dict[str, Any]] = [orjson.loads(line) for line in lines]

    assert documented("# The ledger's rows") == set(rows[0])
    assert documented("## What stays") == {key for row in rows for key in row["public"]}
    assert documented("## What can be erased") == {key for row in rows for key in row["private"]}


async def test_its_lines_of_python_check_a_row(lines: list[bytes]) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 (our own page)

    assert all(names["fits"](line) for line in lines)
    assert not names["fits"](lines[0].replace(b"revoked", b"granted"))
    assert not names["fits"](lines[0].replace("arrêt".encode(), b"arret"))
