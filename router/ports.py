"""What an outsider implements to add a carrier or a platform, and what it is handed to do so.

An adapter is a class named by an entry point of the group `router.carriers` or `router.platforms`. Its `Options`
are the keys that it understands in the configuration file; they are validated with the rest of the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from router.errors import BadPayload, DeliveryError, RouterError
from router.secrets import Secret
from router.types import (
    Answer,
    Event,
    Handshake,
    HttpResponse,
    Inbound,
    Intent,
    NumberType,
    Outgoing,
    RawRequest,
    Receipt,
)

__all__ = [
    "MOST_FORM_FIELDS",
    "TOLL_FREE_ANSWERS",
    "TOLL_FREE_COUNTRIES",
    "Carrier",
    "CarrierAnswers",
    "ChecksAliases",
    "FetchesKeys",
    "Http",
    "Options",
    "OptionsType",
    "Parsed",
    "Platform",
    "ReadsHeaders",
    "Secret",
    "Warns",
]

#: The most fields that a form or query may have. The longest that carriers send have some sixty.
MOST_FORM_FIELDS = 1000


class Options(BaseModel):
    """The keys of an adapter in the configuration file. Unknown keys are errors; values are never coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


OptionsType = type[Options]


class Http(Protocol):
    """The outbound client as adapters know it: one per destination, with its own pool, timeout and address guard."""

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> HttpResponse:
        """Any status is an answer. No answer raises a retryable `DeliveryError`."""
        ...


#: What is in a request of a carrier. A `BadPayload` stands for an entry that makes no sense among others that do.
Parsed = Inbound | Receipt | Handshake | BadPayload


@dataclass(frozen=True, slots=True)
class CarrierAnswers:
    """Which texts of an intent a carrier or a network answers by itself.

    A text that is one of `words`, in whatever case, or, with `beginning`, that begins with one. `words` is None where
    they are not known: then any keyword of the intent counts that stands alone.
    """

    words: frozenset[str] | None = None
    beginning: bool = False


#: What the network behind toll-free numbers of these countries answers by itself, whichever carrier they are rented
#: from: by the first it blocks all that is sent to the person from there, by the second it lets that through again.
TOLL_FREE_COUNTRIES = ("US", "CA")
TOLL_FREE_ANSWERS: Mapping[Intent, CarrierAnswers] = {
    "opt_out": CarrierAnswers(frozenset({"STOP", "ARRET"})),
    "opt_in": CarrierAnswers(frozenset({"START", "UNSTOP", "NONARRET"})),
}


class Carrier(Protocol):
    """Where texts come from and replies go to. All but `send` are plain functions: no I/O, no clock, no await."""

    Options: ClassVar[OptionsType]
    #: Whether a 503 makes the carrier offer the text again. If not, keyroute keeps it on disk until the store is back.
    retries: bool
    #: Whether `answer` hands replies to the person, so that they need not be sent.
    replies_inline: bool
    #: Whether sending a text again under the same id is known to send it once.
    idempotent: bool
    #: Whether `send` has what it needs: credentials above all.
    sends: bool

    def __init__(self, account: str, options: Any, public_url: str | None) -> None:
        """`public_url` is the address that the carrier was given, without a query; None if the proxy's headers tell."""
        ...

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature`, and nothing else, whatever the bytes."""
        ...

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """What is in a verified request; empty if there is nothing to do about it. Raises `RequestError`."""
        ...

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """What this carrier wants to see, good (the replies to give) or bad. The same result gives the same bytes."""
        ...

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """What the carrier or the network answers on such a number unless it is told otherwise.

        `country` is the number's region (`US`), None for a short code or a name whose country the file does not tell.
        For WhatsApp, and for a name, `number_type` is `long_code`.
        """
        ...

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """How many texts such a number may send unless the carrier has agreed to more."""
        ...

    async def send(self, http: Http, message: Outgoing) -> str:
        """Sends a text; the carrier's id of it, empty if it has none.

        Raises `DeliveryError`; a `SendError` where the carrier said why.
        """
        ...


@runtime_checkable
class FetchesKeys(Protocol):
    """A carrier whose requests name the key that they are signed with."""

    async def fetch_keys(self, http: Http, request: RawRequest) -> None:
        """Fetches what `verify` needs for the request, unless it is here already.

        Raises `BadSignature` for a key that is not the carrier's, before anything is fetched, and `DeliveryError`.
        """
        ...


@runtime_checkable
class ReadsHeaders(Protocol):
    """A carrier that says something in headers, beside the type of the body."""

    #: Those that `parse` reads, in lower case: they are kept with a request that is put aside.
    headers_read: frozenset[str]


class Platform(Protocol):
    """Where events go to."""

    Options: ClassVar[OptionsType]
    #: The keys of `[programs.ID.destinations.NAME]` that this platform understands.
    ProgramOptions: ClassVar[OptionsType]
    #: The most events that one `deliver` takes.
    batch_size: int
    #: The most people that one `ensure_aliases` takes.
    alias_batch_size: int
    #: How many calls of `deliver` may be under way at once. One person's events are never in two of them.
    requests_at_once: int
    #: Whether a person must be made known to the platform before an event about them can be sent.
    needs_alias: bool
    #: Whether the first event about a person makes them known, so that it has to say more than later ones
    #: (`Event.new_alias`). Never together with `needs_alias`.
    makes_known: bool
    #: Whether a batch may hold only one event of a person, because the platform keeps no order inside a request.
    one_per_sender: bool

    def __init__(self, name: str, options: Any, programs: "dict[str, tuple[str, Any]]") -> None:
        """`programs`: program id → (program name, its `ProgramOptions`), for the programs that send here."""
        ...

    def wants(self, event: Event) -> bool:
        """Whether this platform has anything to be told about the event."""
        ...

    async def ensure_aliases(self, http: Http, senders: Sequence[str]) -> None:
        """Makes people known. Repeating it is harmless. Raises `DeliveryError`."""
        ...

    async def deliver(self, http: Http, events: Sequence[Event]) -> Sequence[DeliveryError | None]:
        """Sends events in their order and says of each whether it was taken (None) or why not.

        Raises `DeliveryError` where one reason stands for all of them. Of one person's events, none is sent
        after one that failed and can be retried: it gets an error that can be retried too, without `outcome_unknown`.
        """
        ...


@runtime_checkable
class ChecksAliases(Protocol):
    """A platform that can tell whether the people whom it is told of are still known there."""

    #: How many people one `vanished` takes.
    check_size: int
    #: The time between two checks, in seconds; 0 for none.
    check_every: float

    async def vanished(self, http: Http, senders: Sequence[str]) -> Sequence[str]:
        """Those of the people who are not known there any more. Raises `DeliveryError`."""
        ...


@runtime_checkable
class Warns(Protocol):
    """A platform that may be configured in a way that works and yet is not what one would expect."""

    @staticmethod
    def warnings(options: Any, programs: "dict[str, tuple[str, Any]]") -> Sequence[str]:
        """What `keyroute check` says of it: sentences with what to do. `programs` as for `Platform`."""
        ...
