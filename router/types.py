"""The values that cross from one room to another. A leaf: it imports nothing of ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Channel = Literal["sms", "mms", "whatsapp", "rcs"]
Intent = Literal["opt_out", "opt_in", "help", "confirm", "custom", "none"]
#: `choosing`: opted out of all programs of a number, and asked which of them to keep; to everybody outside, and once
#: the time to choose is over, it is `unsubscribed`.
ConsentState = Literal["none", "pending", "subscribed", "unsubscribed", "choosing"]
#: Kinds of numbers, as carriers tell them apart; to them, a name that texts are sent from is like a long code.
NumberType = Literal["long_code", "toll_free", "short_code"]
OptOutType = Literal["STOP", "START", "HELP"]
#: Why a text was not sent or not delivered: the person has opted out at the carrier; no such number, or none that takes
#: texts; too many at once; a fault that passes; one that does not; our credentials.
SendFailure = Literal["opted_out", "invalid_number", "throttled", "temporary", "permanent", "auth"]


@dataclass(slots=True)  # nobody changes one; that it is frozen would cost a text 0.5 µs
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
class Proof:
    """What came with a consent that was not texted: where it was given, what the person was shown, who says so."""

    source_url: str | None = None
    consent_text: str | None = None
    operator: str | None = None


@dataclass(slots=True, unsafe_hash=True)  # as `RawRequest`
class Inbound:
    """One text from a person, or one word about a person's consent, as the carrier or a caller of the API tells it.

    `sender` and `recipient` are written as the carrier wrote them, less its own channel prefix (`whatsapp:`);
    the pipeline turns them into E.164. Where the carrier does not name our number, `recipient` is None, and
    `recipient_ref` is what it calls the number, if anything. `text` is exactly what the person wrote. `opt_out_type` is
    the carrier's own reading, present only when the carrier has already answered the person. `payload` is what stands
    behind a tapped button. `kind` is `preference` for consent that was given or taken back in another way than by a
    text, for messages of the `scope` alone if there is one; `opt_out_type` says which. It is `api` for what a caller of
    the API or an imported row says, with its `proof`, and `receipt` for what the carrier reports of a text of ours.
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
    kind: Literal["text", "preference", "api", "import", "receipt"] = "text"
    scope: Literal["marketing"] | None = None
    part: Part | None = None
    binary: Binary | None = None
    proof: Proof | None = None


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


@dataclass(slots=True, unsafe_hash=True)  # as `RawRequest`
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
class Change:
    """How one consent changed. `program` is a program's id; `@ACCOUNT` or `@all` for an opt-out of everything there."""

    program: str
    before: ConsentState
    after: ConsentState


@dataclass(frozen=True, slots=True)
class Decision:
    """What a text was understood to mean and what followed from it; explains itself.

    `program` is None for a text to a number that no program has. `rule` names what matched
    (`keyword:fr/ARRÊT`). `reply` is the text to give the person, None for silence. `changes` says what became of each
    consent where that is more than `program`'s, from `before` to `after`.
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
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """What happens to a text if its sender is in one state.

    `renews` says that `after` is written anew even if the sender is in that state already. `expires_in` is in seconds;
    0 means that `after` does not expire; it lapses to `lapses_to`, or, if that is None, to the state before.
    `asks_again_in`: the reply is a question that is put once in so many seconds; 0 for any other reply.

    `decisions` and `otherwise` are `Decision`s without changes, as `router.records` writes them: one decision for each
    language of the program, or one for all. `otherwise` is what is decided if the reply is one too many, or if the text
    is late and the person has said something else since; empty where neither makes a difference. `replies` says whether
    the decisions have replies; `recorded`, whether the ledger of consent takes the text down; `language`, the one to
    keep as the person's; `block`, whether the carrier's own block of the person is noted or known to be gone.
    """

    before: ConsentState
    after: ConsentState
    renews: bool
    expires_in: int
    asks_again_in: int
    decisions: tuple[bytes, ...]
    otherwise: bytes
    replies: bool = False
    recorded: bool = False
    lapses_to: ConsentState | None = None
    language: str = ""
    block: Literal["", "set", "clear"] = ""


@dataclass(slots=True, eq=False)
class Plan:
    """What happens to a text, whatever the store knows of its sender.

    `consents` are those that the text may be about, by name: programs, or `@ACCOUNT` for a whole account;
    `overruled_by`, for each of them, the others that bear on it. It is about the one that is in the state sought first,
    by the order of `sought`. What then follows is written to that one (`writes` empty), to each of them by its own
    state (`each`), or to the consent that `writes` names and that overrules them all. `rows` by consent;
    `rows_of_several` instead, where there are any, for somebody who is subscribed to more than one. `languages` are
    those of the replies, in the order of a row's decisions.

    `programs` are those that may be meant, `destinations` where the text goes, `need_alias` those of them that need
    one. `written` is where the store keeps the plan as it writes it. Nothing else of a plan ever changes.
    """

    intent: Intent
    consents: tuple[str, ...]
    overruled_by: tuple[tuple[str, ...], ...]
    sought: tuple[ConsentState, ...]
    writes: str
    rows: tuple[tuple[Row, ...], ...]
    rows_of_several: tuple[tuple[Row, ...], ...]
    languages: tuple[str, ...]
    programs: tuple[str, ...]
    destinations: tuple[str, ...]
    need_alias: tuple[str, ...]
    written: tuple[bytes, bytes] | None = field(default=None, init=False, repr=False)

    @property
    def covers(self) -> tuple[str, ...]:
        """The programs of the account, where that is what is written to."""
        written = self.writes if self.writes.startswith("@") else self.consents[0]
        return self.programs if written.startswith("@") and written != "@all" else ()

    @property
    def replies(self) -> bool:
        """Whether the sender may get a reply."""
        return any(row.replies for rows in (*self.rows, *self.rows_of_several) for row in rows)

    @property
    def program(self) -> str | None:
        """The first program that it may be about; None for a number that no program has."""
        return None if self.consents[0].startswith("@") else self.consents[0]


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted text with its decision, on its way to a platform.

    `id` is the same on every attempt, so a receiver can drop a second copy. `message.sender` is the alias name: E.164
    with `+`. `at` is the time of acceptance in unix seconds. `programs` are those that may be meant: those of the
    number, or all of the account for an opt-out of all of it. `new_alias` says that the sender's alias was created for
    this very text, moments ago, or is to be created with it.
    """

    id: str
    at: float
    account: str
    programs: tuple[str, ...]
    message: Inbound
    decision: Decision
    new_alias: bool = False

    @property
    def changes(self) -> tuple[Change, ...]:
        """What became of the consent of each program that is meant."""
        decision = self.decision
        if not decision.changes:
            programs = (decision.program,) if decision.program else self.programs
            return tuple(Change(program, decision.before, decision.after) for program in programs)
        return tuple(
            Change(program, change.before, change.after)
            for change in decision.changes
            for program in (self.programs if change.program.startswith("@") else (change.program,))
        )


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
    """What came back from a platform. Header names are lower case; `body` is cut at 64 KiB.

    `request` says what was asked of which host, without path and query: these may hold a token.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    request: str = ""
