"""The values that cross from one room to another. A leaf: it imports nothing of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Channel = Literal["sms", "mms", "whatsapp", "rcs"]
Intent = Literal["opt_out", "opt_in", "help", "confirm", "custom", "none"]
ConsentState = Literal["none", "pending", "subscribed", "unsubscribed"]
NumberType = Literal["long_code", "toll_free", "short_code"]
OptOutType = Literal["STOP", "START", "HELP"]


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A carrier's request before anything in it is believed.

    `query` and `body` are the bytes as they came. Header names are lower case; a header that came twice
    has its values joined with ", ". `received_at` is in unix seconds.
    """

    account: str
    method: str
    query: bytes
    headers: Mapping[str, str]
    body: bytes
    received_at: float


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or file that came with a text; what the carrier did not say is None."""

    url: str | None = None
    id: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Inbound:
    """One text from a person, as the carrier tells it.

    `sender` and `recipient` are written as the carrier wrote them, less its own channel prefix (`whatsapp:`);
    the pipeline turns them into E.164. `text` is exactly what the person wrote. `opt_out_type` is the
    carrier's own reading, present only when the carrier has already answered the person. `payload` is
    what stands behind a tapped button.
    """

    message_id: str
    sender: str
    recipient: str
    text: str
    channel: Channel = "sms"
    media: tuple[Media, ...] = ()
    opt_out_type: OptOutType | None = None
    payload: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a text was understood to mean and what followed from it; explains itself.

    `program` is None for a text to a number that no program has. `rule` names what matched
    (`keyword:fr/ARRÊT`). `reply` is the text to give the person, None for silence.
    """

    intent: Intent
    keyword: str | None
    argument: str | None
    program: str | None
    language: str | None
    rule: str | None
    before: ConsentState
    after: ConsentState
    reply: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """What happens to a text if its sender is in one state.

    `renews` says that `after` is written anew even if the sender is in that state already. `expires_in` is in seconds;
    0 means that `after` does not expire. `asks_again_in`: the reply is a question that is put once in so many seconds;
    0 for any other reply. `decision` and `otherwise` are `Decision`s as JSON: `otherwise` is what is decided if the
    reply is one too many, or if the text is late and the person has said something else since; empty where neither
    makes a difference.
    """

    before: ConsentState
    after: ConsentState
    renews: bool
    expires_in: int
    asks_again_in: int
    decision: bytes
    otherwise: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted text with its decision, on its way to a platform.

    `id` is the same on every attempt, so a receiver can drop a second copy. `message.sender` is the alias
    name: E.164 with `+`. `at` is the time of acceptance in unix seconds. `programs` are those whose consent is meant:
    the program of the number, or all of the account for an opt-out sent to a number without one. `new_alias`
    says that the sender's alias was created for this very text, moments ago.
    """

    id: str
    at: float
    account: str
    programs: tuple[str, ...]
    message: Inbound
    decision: Decision
    new_alias: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, chosen by the adapter."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back from a platform. Header names are lower case; `body` is cut at 64 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes
