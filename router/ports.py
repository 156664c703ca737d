"""What an outsider implements to add a carrier or a platform, and what it is handed to do so.

An adapter is a class named by an entry point of the group `router.carriers` or `router.platforms`. Its `Options`
are the keys that it understands in the configuration file; they are validated with the rest of the file.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from router.errors import DeliveryError, RouterError
from router.secrets import Secret
from router.types import Answer, Decision, Event, HttpResponse, Inbound, RawRequest

__all__ = ["MOST_FORM_FIELDS", "Carrier", "Http", "Options", "OptionsType", "Platform", "Secret"]

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


class Carrier(Protocol):
    """Where texts come from. Three plain functions of bytes: no I/O, no clock, no await."""

    Options: ClassVar[OptionsType]
    #: Whether a 503 makes the carrier offer the text again. If not, keyroute keeps it on disk until the store is back.
    retries: bool

    def __init__(self, account: str, options: Any, public_url: str) -> None:
        """`public_url` is the address that the carrier was given, without a query."""
        ...

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature`, and nothing else, whatever the bytes."""
        ...

    def parse(self, request: RawRequest) -> Sequence[Inbound]:
        """The texts in a verified request; empty if there is nothing to route (a receipt). Raises `RequestError`."""
        ...

    def answer(self, result: Sequence[Decision] | RouterError) -> Answer:
        """What this carrier wants to see, good or bad. The same decisions always give the same bytes."""
        ...


class Platform(Protocol):
    """Where events go to."""

    Options: ClassVar[OptionsType]
    #: The keys of `[programs.ID.destinations.NAME]` that this platform understands.
    ProgramOptions: ClassVar[OptionsType]
    #: The most events that one `deliver` takes.
    batch_size: int
    #: The most people that one `ensure_aliases` takes.
    alias_batch_size: int
    #: Whether a person must be made known to the platform before an event about them can be sent.
    needs_alias: bool
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
        after one that failed and can be retried: it gets the same error.
        """
        ...
