"""One row of the ledger: any change of it is found, and what it says of a person can be erased."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import DamagedLedger
from router.ledger.rows import Draft, read_row, without_private, write_row
from router.store import NO_HEAD, Head

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FIELDS = st.dictionaries(TEXTS, TEXTS | st.none() | st.integers(0, 2**53) | st.floats(0, 1e10), max_size=5)
NONCES = st.binary(min_size=16, max_size=16)


def line_of(public: dict[str, Any], private: dict[str, Any] | None, nonce: bytes = bytes(16)) -> bytes:
    return write_row(Draft("+1", public, private), 3, 8, 2, Head("ab" * 32, 1), nonce)[0]


@given(FIELDS, FIELDS, NONCES)
def test_a_row_is_read_as_it_was_written(public: dict[str, Any], private: dict[str, Any], nonce: bytes) -> None:
    line, head = write_row(Draft("+1", public, private), 3, 8, 2, Head("ab" * 32, 1), nonce)
    row = read_row(line)

    assert (row.shard, row.seq, row.segment, row.previous, row.previous_segment) == (3, 8, 2, "ab" * 32, 1)
    assert (row.public, row.private) == (public, private | {"nonce": nonce.hex()})
    assert (row.hash, row.segment) == (head.hash, head.segment)


@given(FIELDS, FIELDS | st.none(), st.data())
def test_a_change_of_any_byte_is_found(public: dict[str, Any], private: dict[str, Any] | None, data: Any) -> None:
    line = line_of(public, private)
    place = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[place]))

    with pytest.raises(DamagedLedger):
        read_row(line[:place] + bytes([byte]) + line[place + 1 :])


@given(st.data())
def test_a_byte_more_or_less_is_found(data: Any) -> None:
    line = line_of({"a": "x", "b": None}, {"c": 1.5})
    place = data.draw(st.integers(0, len(line) - 1))
    more = data.draw(st.integers(0, 255))

    with pytest.raises(DamagedLedger):
        read_row(line[:place] + line[place + 1 :])
    with pytest.raises(DamagedLedger):
        read_row(line[:place] + bytes([more]) + line[place:])


@given(FIELDS, FIELDS, NONCES)
def test_erasing_what_it_says_of_a_person_leaves_it_valid(
    public: dict[str, Any], private: dict[str, Any], nonce: bytes
) -> None:
    line = line_of(public, private, nonce)
    row = read_row(without_private(line))

    assert row.erased
    assert row.private is None
    assert (row.hash, row.public) == (read_row(line).hash, public)
    assert nonce.hex().encode() not in without_private(line)


def test_what_is_erased_cannot_be_put_back_as_something_else() -> None:
    erased = orjson.loads(without_private(line_of({}, {"text": "Stop"})))

    with pytest.raises(DamagedLedger, match="who it was"):
        read_row(orjson.dumps(erased | {"private": {"text": "Start", "nonce": "00" * 16}}))


def test_the_same_words_leave_another_hash_each_time() -> None:
    first, second = (read_row(line_of({}, {"phone": "+14155550101"}, nonce)) for nonce in (bytes(16), b"x" * 16))

    assert first.private_hash != second.private_hash


@pytest.mark.parametrize("line", [b"", b"null", b"[]", b"{}", b'{"hash":"x"}', b"\xff", b'"' * 80])
def test_what_is_no_row_is_said_to_be_none(line: bytes) -> None:
    with pytest.raises(DamagedLedger, match="is not a row"):
        read_row(line)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 10**9))
def test_a_head_is_read_as_it_was_kept_and_is_never_taken_for_a_state(digest: bytes, segment: int) -> None:
    head = Head(digest.hex(), segment)

    assert Head.read(str(head).encode()) == head
    assert len(str(head)) < 64
    assert str(head)[0].isdigit()


def test_nobody_has_a_head_of_zeros() -> None:
    assert Head("0" * 64, 0) == NO_HEAD
