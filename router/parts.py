"""Long texts that came in parts: what makes parts belong together, and the text that they make."""

from dataclasses import dataclass, replace
from hashlib import blake2b

import orjson

from router.records import read_part, write_part
from router.store import Group, Part
from router.texts import identity
from router.types import Binary, Inbound
from router.types import Part as Place

_MOST_PARTS = 255


def place(text: Inbound) -> Place | None:
    """Which part of a long text it is; None for a text of its own. Nonsense makes no text wait for what never comes."""
    part = text.part
    return part if part and 2 <= part.total <= _MOST_PARTS and 1 <= part.seq <= part.total else None


def kept_part(account: str, text: Inbound, part: Place, at: float, *, late: bool) -> Part:
    """A text that is a part, its addresses normalised, as the store keeps it."""
    # Where the carrier does not name our number, what it calls it tells the texts of two numbers apart.
    number = text.recipient or f"@{text.recipient_ref or ''}"
    binary = text.binary.data_hex if text.binary else ""
    return Part(
        sender=text.sender,
        name=_digest(account, text.sender, number, part.ref, str(part.total)),
        id=identity(account, text.sender, text.message_id, str(part.seq))[1].hex(),
        content=_digest(text.text, binary),
        number=part.seq,
        total=part.total,
        record=write_part(account, at, text, late=late),
    )


@dataclass(frozen=True, slots=True)
class Long:
    """The text that parts make, those that are there. `began` is when the first came; `late` if one is."""

    account: str
    text: Inbound
    began: float
    late: bool
    complete: bool


def join(group: Group) -> Long:
    """The parts as one text. Its id is the same for the same parts, whoever joins them."""
    read = [read_part(record) for record in group.records]
    texts = [text for _, _, text, _ in read]
    account, _, first, _ = read[0]
    text = replace(
        first,
        message_id=f"joined_{_digest(group.name, group.first)}",
        text="".join(text.text for text in texts),
        media=tuple(media for text in texts for media in text.media),
        opt_out_type=next((text.opt_out_type for text in texts if text.opt_out_type), None),
        payload=next((text.payload for text in texts if text.payload), None),
        part=None,
        binary=_joined_binary(texts),
    )
    return Long(
        account=account,
        text=text,
        began=min(at for _, at, _, _ in read),
        late=any(late for _, _, _, late in read),
        complete=first.part is not None and first.part.total == len(texts),
    )


def _joined_binary(texts: list[Inbound]) -> Binary | None:
    found = [text.binary for text in texts if text.binary]
    return Binary("".join(binary.data_hex for binary in found), found[0].udh_hex) if found else None


def _digest(*words: str) -> str:
    return blake2b(orjson.dumps(words), digest_size=12).hexdigest()
