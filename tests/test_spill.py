"""The spill file: what is appended is on disk, and comes back in order, whatever was cut short."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import StoreUnavailable
from router.spill import Spill
from router.types import RawRequest


def request(number: int, body: bytes = b"", headers: dict[str, str] | None = None) -> RawRequest:
    return RawRequest("acme", "POST", b"", headers or {}, body or b"%d" % number, float(number))


async def taken(spill: Spill) -> list[RawRequest]:
    """All that the spill gives back."""
    requests: list[RawRequest] = []

    async def take(found: Sequence[RawRequest]) -> None:
        requests.extend(found)

    await spill.replay(take)
    return requests


async def test_requests_come_back_in_the_order_they_were_appended_and_the_file_goes(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 10_000)
    await asyncio.gather(*(spill.append(request(i)) for i in range(20)))
    assert not spill.empty

    assert await taken(spill) == [request(i) for i in range(20)]
    assert spill.empty
    assert list(tmp_path.iterdir()) == []


async def test_a_file_left_behind_is_taken_over_before_ones_own(tmp_path: Path) -> None:
    crashed = Spill(tmp_path, 10_000)
    await crashed.append(request(1))
    crashed.close()
    spill = Spill(tmp_path, 10_000)
    assert not spill.empty
    await spill.append(request(2))

    assert await taken(spill) == [request(1), request(2)]


async def test_the_file_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    other = Spill(tmp_path, 10_000)
    await other.append(request(1))
    spill = Spill(tmp_path, 10_000)

    assert spill.empty
    assert await taken(spill) == []
    assert await taken(other) == [request(1)]


async def test_what_is_appended_during_a_replay_comes_after(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 10_000)
    await spill.append(request(1))
    seen: list[float] = []

    async def take(found: Sequence[RawRequest]) -> None:
        seen.extend(one.received_at for one in found)
        if seen[-1] < 5:
            await spill.append(request(int(seen[-1]) + 1))

    await spill.replay(take)

    assert seen == [1, 2, 3, 4, 5]
    assert spill.empty


async def test_a_replay_that_fails_loses_nothing(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 10_000)
    for i in range(3):
        await spill.append(request(i))

    async def fail(found: Sequence[RawRequest]) -> None:
        raise StoreUnavailable("away again")

    with pytest.raises(StoreUnavailable):
        await spill.replay(fail)
    assert not spill.empty

    assert await taken(spill) == [request(i) for i in range(3)]


@pytest.mark.parametrize("cut", [2, 10, 40])
async def test_a_line_cut_short_by_a_crash_is_passed_over_and_those_before_it_are_not(tmp_path: Path, cut: int) -> None:
    spill = Spill(tmp_path, 10_000)
    await spill.append(request(1))
    await spill.append(request(2))
    spill.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])

    assert await taken(Spill(tmp_path, 10_000)) == [request(1)]


async def test_beyond_its_limit_it_refuses_and_what_came_before_stays(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 400)
    await spill.append(request(1))
    with pytest.raises(StoreUnavailable, match="spill_max_bytes"):
        await spill.append(request(2, b"x" * 400))

    assert await taken(spill) == [request(1)]


async def test_the_limit_holds_over_all_files_and_stays(tmp_path: Path) -> None:
    left_behind = Spill(tmp_path, 10_000)
    await left_behind.append(request(1, b"x" * 200))
    left_behind.close()
    spill = Spill(tmp_path, 600)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="spill_max_bytes"):
            await spill.append(request(2, b"x" * 200))


async def test_two_processes_do_not_replay_the_same_file(tmp_path: Path) -> None:
    crashed = Spill(tmp_path, 100_000)
    for i in range(5):
        await crashed.append(request(i))
    crashed.close()

    both = await asyncio.gather(*(taken(Spill(tmp_path, 100_000)) for _ in range(2)))

    assert sorted(len(found) for found in both) == [0, 5]


async def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    spill = Spill(tmp_path / "taken", 10_000)

    with pytest.raises(StoreUnavailable, match="cannot be kept on disk"):
        await spill.append(request(1))


@settings(max_examples=50, deadline=None)
@given(body=st.binary(max_size=200), headers=st.dictionaries(st.text(st.characters(codec="latin-1")), st.text()))
def test_any_request_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, headers: dict[str, str]
) -> None:
    async def round_trip() -> list[RawRequest]:
        spill = Spill(tmp_path_factory.mktemp("spill"), 100_000)
        await spill.append(request(1, body, headers))
        return await taken(spill)

    assert asyncio.run(round_trip()) == [request(1, body, headers)]
