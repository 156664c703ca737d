"""One row: how it is made, read and checked, and how its private part is erased. Time and randomness are arguments.

`hash` is SHA-256 of the JSON of all from `v` to `public`, `private_hash` of the JSON of `private`. The nonce in there
keeps a phone number from being found by trying all that there are.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from router.errors import DamagedLedger
from router.store import Head

_VERSION = 1
_HASHED = ("v", "shard", "seq", "segment", "previous", "previous_segment", "private_hash", "public")
_FIELDS = ("hash", *_HASHED[1:], "private")
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: Where a row's hash stands in its line.
_HASH = slice(len('{"hash":"'), len('{"hash":"') + 64)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a row is to say. `public` stays for good; `private` can be erased, None if nothing ever was."""

    sender: str
    public: dict[str, Any]
    private: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is as it was written. `seq` is its number in the shard; `private` is None once it is erased."""

    hash: str
    shard: int
    seq: int
    segment: int
    previous: str
    previous_segment: int
    private_hash: str | None
    public: dict[str, Any]
    private: dict[str, Any] | None

    @property
    def erased(self) -> bool:
        """Whether it had a private part that it has no more."""
        return self.private is None and self.private_hash is not None

    @property
    def closes(self) -> bool:
        """Whether it says that what the rows before it quote was to be erased."""
        return bool(self.public.get("direction") == "erased")


def write_row(draft: Draft, shard: int, seq: int, segment: int, previous: Head, nonce: bytes) -> tuple[bytes, Head]:
    """The line of a row, and the head of its person's chain from now on."""
    private, private_hash = b"null", None
    if draft.private is not None:
        private = orjson.dumps(draft.private | {"nonce": nonce.hex()})
        private_hash = sha256(private).hexdigest()
    place = (_VERSION, shard, seq, segment, previous.hash, previous.segment, private_hash, draft.public)
    hashed = orjson.dumps(dict(zip(_HASHED, place, strict=True)))
    digest = sha256(hashed).hexdigest()
    return _line(digest, hashed, private), Head(digest, segment)


def _line(digest: str, hashed: bytes, private: bytes) -> bytes:
    return b'{"hash":"%s",%s,"private":%s}' % (digest.encode(), hashed[1:-1], private)


def read_row(line: bytes) -> Row:
    """The row in a line. Raises `DamagedLedger` if so much as a byte of it is not as it was written."""
    try:
        written = orjson.loads(line)
        hashed = orjson.dumps({name: written[name] for name in _HASHED})
        row = Row(**{name: written[name] for name in _FIELDS})
        private = orjson.dumps(row.private)
        exact = line == _line(row.hash, hashed, private) and _is_row(row)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DamagedLedger("is not a row of the ledger") from None
    if sha256(hashed).hexdigest() != row.hash:
        raise DamagedLedger("was changed: its hash is another one")
    if row.private is not None and sha256(private).hexdigest() != row.private_hash:
        raise DamagedLedger("was changed where it says who it was and what they said: its hash is another one")
    if not exact or written["v"] != _VERSION:
        raise DamagedLedger("was changed in its form")
    return row


def _is_row(row: Row) -> bool:
    numbers = (row.shard, row.seq, row.segment, row.previous_segment)
    hashes = (row.hash, row.previous, *([] if row.private_hash is None else [row.private_hash]))
    return (
        all(type(number) is int for number in numbers)
        and all(map(_DIGEST.fullmatch, hashes))
        and isinstance(row.public, dict)
        and isinstance(row.private, dict | None)
    )


def hash_of(line: bytes) -> bytes:
    """The hash that a line bears, unchecked."""
    return line[_HASH]


def without_private(line: bytes) -> bytes:
    """The line of a row whose private part is erased."""
    return orjson.dumps(orjson.loads(line) | {"private": None})
