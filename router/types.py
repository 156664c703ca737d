"""The values that cross from one room to another. A leaf: it imports nothing of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Channel = Literal["sms", "mms", "whatsapp", "rcs"]
Intent = Literal["opt_out", "opt_in", "help", "confirm", "custom", "none"]
ConsentState = Literal["none", "pending", "subscribed", "unsubscribed"]
NumberType = Literal["long_code", "toll_free", "short_code"]
OptOutType = Literal["STOP", "START", "HELP"]
#: Why a text was not sent or not delivered: the person has opted out at the carrier; no such number, or none that takes
#: texts; too many at once; a fault that passes; one that does not; our credentials.
SendFailure = Literal["opted_out", "invalid_number", "throttled", "temporary", "permanent", "auth"]


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A carrier's request before anything in it is believed.

    `query` and `body` are the bytes as they came. Header names are lower case; a header that came twice
    has its values joined with ", ". `received_at` is in unix seconds. `path` is as it came too, without the query.
    """

    account: str
    method: str
    query: bytes
    headers: Mapping[str, str]
    body: bytes
    received_at: float
    path: str = ""


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or file that came with a text; what the carrier did not say is None."""

    url: str | None = None
    id: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a long text that came alone: number `seq`, counted from 1, of `total`. All parts share `ref`."""

    ref: str
    total: int
    seq: int


@dataclass(frozen=True, slots=True)
class Binary:
    """What a binary SMS holds in place of a text, and its user data header, both in hex."""

    data_hex: str
    udh_hex: str


@dataclass(frozen=True, slots=True)
class Inbound:
    """One text from a person, or one word about a person's consent, as the carrier tells it.

    `sender` and `recipient` are written as the carrier wrote them, less its own channel prefix (`whatsapp:`);
    the pipeline turns them into E.164. Where the carrier does not name our number, `recipient` is None, and
    `recipient_ref` is what it calls the number, if anything. `text` is exactly what the person wrote. `opt_out_type` is
    the carrier's own reading, present only when the carrier has already answered the person. `payload` is what stands
    behind a tapped button. `kind` is `preference` for consent that was given or taken back in another way than by a
    text, for messages of the `scope` alone if there is one; `opt_out_type` says which.
    """

    message_id: str
    sender: str
    recipient: str | None
    text: str
    channel: Channel = "sms"
    media: tuple[Media, ...] = ()
    opt_out_type: OptOutType | None = None
    payload: str | None = None
    recipient_ref: str | None = None
    kind: Literal["text", "preference"] = "text"
    scope: Literal["marketing"] | None = None
    part: Part | None = None
    binary: Binary | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a carrier reports of a text that was sent: delivered (`failure` None), or why not.

    `message_id` is what `Carrier.send` returned; `sender` is our number, `recipient` the person, None where the carrier
    does not say. `code` is the carrier's own. What is still under way is not reported.
    """

    message_id: str
    sender: str | None
    recipient: str | None
    failure: SendFailure | None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A text to a person. `id` is the same on every attempt: 1 to 64 of `A-Za-z0-9_-`.

    `sender` is our number as the configuration has it, `recipient` the person: E.164, or a WhatsApp user id.
    """

    id: str
    sender: str
    recipient: str
    text: str
    channel: Channel

    @classmethod
    def reply(cls, event_id: str, text: Inbound, number: str, reply: str) -> "Outgoing":
        """What answers a text that was sent to one of our numbers; a picture is answered with words alone."""
        return cls(event_id, number, text.sender, reply, "sms" if text.channel == "mms" else text.channel)


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
    makes a difference. `replies` says whether `decision` has a reply.
    """

    before: ConsentState
    after: ConsentState
    renews: bool
    expires_in: int
    asks_again_in: int
    decision: bytes
    otherwise: bytes
    replies: bool = False


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
class Handshake:
    """A carrier makes sure that the address is ours: what it is answered, and the URL to fetch afterwards, if any."""

    answer: Answer
    visit: str | None = None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back from a platform. Header names are lower case; `body` is cut at 64 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes
