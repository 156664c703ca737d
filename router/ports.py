"""What an outsider implements to add a carrier or a platform, and what it is handed to do so.

An adapter is a class named by an entry point of the group `router.carriers` or `router.platforms`. Its `Options`
are the keys that it understands in the configuration file; they are validated with the rest of the file.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from router.errors import DeliveryError, RouterError
from router.types import Answer, Decision, Event, HttpResponse, Inbound, RawRequest


class Secret:
    """A secret read from `env:NAME` or `file:PATH`; never shows itself in `repr`, logs or errors.

    A relative PATH counts from the folder of the configuration file.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(cls._read)

    @classmethod
    def _read(cls, written: object, info: ValidationInfo) -> "Secret":
        if isinstance(written, Secret):
            return written
        scheme, _, place = written.partition(":") if isinstance(written, str) else ("", "", "")
        if scheme == "env" and place:
            value = os.environ.get(place, "")
            if not value:
                raise PydanticCustomError(
                    "secret_missing",
                    "the environment variable {name} is not set.",
                    {"name": place, "remedy": f"Set {place} before you start keyroute."},
                )
            return cls(value)
        if scheme == "file" and place:
            folder = (info.context or {}).get("folder", ".")
            path = Path(folder, place)
            try:
                value = path.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise PydanticCustomError(
                    "secret_missing",
                    "the secret file {path} cannot be read ({why}).",
                    {
                        "path": str(path),
                        "why": type(error).__name__,
                        "remedy": f"Write the secret into {path}.",
                    },
                ) from None
            if not value:
                raise PydanticCustomError(
                    "secret_missing",
                    "the secret file {path} is empty.",
                    {"path": str(path), "remedy": f"Write the secret into {path}."},
                )
            return cls(value)
        # The written value is not repeated here: it may be the secret itself.
        raise PydanticCustomError(
            "secret_inline",
            "a secret cannot stand in the configuration file.",
            {"remedy": 'Write "env:NAME" or "file:PATH" and keep the secret there.'},
        )


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
