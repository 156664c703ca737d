"""The configuration as the product sees it: frozen, typed, every default filled in. `router.config` reads it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from router.config.permissions import Digest, Permission
from router.config.programs import Number, Program
from router.config.values import (
    AsTuple,
    Count,
    Location,
    PrivateHosts,
    Table,
    Url,
    http_url,
    location,
    value_error,
)
from router.consent import EVERYTHING
from router.errors import Problem
from router.ports import Options, Secret

_SHORTEST_TOKEN = 16


def _folder_url(written: object, info: ValidationInfo) -> str:
    """A folder, or what fsspec is asked for: whether it knows such a URL is found when it is used."""
    if not isinstance(written, str) or "://" not in written:
        return str(location(written, info))
    scheme, _, place = written.partition("://")
    if not (re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) and place.strip("/") and place.isprintable()):
        remedy = 'Write a folder, such as "data/ledger", or a URL such as "s3://BUCKET/FOLDER".'
        raise value_error("url_shape", "is not a place for files.", remedy)
    if ":" in place.rpartition("@")[0]:
        remedy = "Take it out: the package that such a URL needs reads it from the environment or a file of its own."
        raise value_error("secret_inline", "a password cannot stand in the URL.", remedy)
    return written


def _carrier_url(written: str) -> str:
    """What a carrier was given may hold credentials, which then are part of what it signs."""
    scheme, separator, rest = written.partition("://")
    credentials, at, place = rest.rpartition("@")
    if at and (not credentials.isprintable() or set(credentials) & set(" /?#@")):
        raise value_error(
            "url_shape", "is not a web address.", 'Write it as the carrier has it, "https://user:password@…".'
        )
    http_url(f"{scheme}{separator}{place}")
    return written


def _store_url(written: str) -> str:
    remedy = 'Write "embedded", "redis://HOST:PORT/0", "rediss://HOST:PORT/0" or "unix:///PATH".'
    try:
        parts = urlsplit(written)
        has_password = parts.password is not None or "password" in parse_qs(parts.query)
        over_network = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise value_error("url_shape", "is not an address of a store.", remedy) from None
    if has_password:
        remedy = 'Take it out of the URL and write password = "env:NAME" or "file:PATH" below it.'
        raise value_error("secret_inline", "a password cannot stand in the URL.", remedy)
    if not (written == "embedded" or over_network or (written.startswith("unix:///") and len(parts.path) > 1)):
        raise value_error("url_shape", "is not an address of a store.", remedy)
    return written


def _token(secret: Secret) -> Secret:
    if len(secret.reveal()) < _SHORTEST_TOKEN:
        remedy = (
            f"Put a random one of {_SHORTEST_TOKEN} characters or more there, such as `openssl rand -hex 24` prints."
        )
        raise value_error("secret_short", "the token is too short to be safe.", remedy)
    return secret


class Server(Table):
    """Where keyroute listens."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; `0.0.0.0` for all.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    uds: Location | None = Field(None, description="Unix socket to listen on; `host` and `port` then do not count.")
    public_url: Annotated[Url, AfterValidator(lambda url: url.rstrip("/"))] = Field(
        "http://127.0.0.1:8080", description="How carriers reach this server; their URLs are this + `/in/ACCOUNT`."
    )
    max_body_bytes: Count = Field(3_145_728, description="Largest request body; a larger one gets 413.")


class Store(Table):
    """Where consent, the outbox and the dedupe window are kept."""

    url: Annotated[str, AfterValidator(_store_url)] = Field(
        "embedded", description="`embedded`, or a Redis or Valkey server: `redis://`, `rediss://` or `unix://`."
    )
    password: Secret | None = Field(None, description="Password of that server.")
    data: Location = Field(Path("data"), description="Folder of the embedded store and the spill file.")
    prefix: str = Field(
        "keyroute", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Start of every key name in the store."
    )
    shards: int = Field(8, ge=1, le=1024, description="Parts that work is split into; fixed once a store is in use.")
    durability: Literal["fsync", "memory"] = Field(
        "fsync", description="What a text is acknowledged on: the store's disk, or its memory."
    )
    # At least what an idle server takes to end a wait, whose timers it looks at ten times a second.
    timeout_seconds: float = Field(2.0, ge=0.3, le=60, description="How long the store may take to answer.")
    dedupe_hours: int = Field(24, ge=1, le=720, description="How long a repeated message id is recognised.")
    unhandled_kept: int = Field(
        10_000,
        ge=0,
        description="How many requests and texts are kept that nobody could be told of.",
    )
    spill_max_bytes: Count = Field(268_435_456, description="Most that the spill file may take on disk.")


class ApiKey(Table):
    """A key of the platform-shaped API."""

    sha256: Digest = Field(examples=["…"], description="SHA-256 of the key, as `keyroute key` prints it.")
    permissions: Annotated[tuple[Permission, ...], AsTuple] = Field(
        min_length=1, examples=[["users.track"]], description="What the key may be used for."
    )


class Api(Table):
    """Who may call our own addresses."""

    tokens: Annotated[tuple[Annotated[Secret, AfterValidator(_token)], ...], AsTuple] = Field(
        (), description="Bearer tokens of `POST /v1/messages`, 16 characters or more each; none closes it."
    )
    keys: Mapping[str, ApiKey] = Field({}, description="Keys of the platform-shaped API; see below.")
    rate_limit_factor: float = Field(
        1.0, ge=0, le=1000, description="What the API's documented limits are multiplied by; 0 turns them off."
    )


class Limits(Table):
    """What stops loops, and waiting."""

    replies_per_hour: Count = Field(20, description="Most replies of one number to one person in an hour.")
    join_seconds: float = Field(
        60,
        gt=0,
        le=86_400,
        description="How long the parts of a long text may take; then it is read as far as it came.",
    )
    reply_within_minutes: float = Field(
        30, gt=0, le=1440, description="A reply that could not be sent by then is not sent any more; confirmations: 5."
    )
    waiting_texts: Count = Field(
        2_000,
        description="How many texts may wait for the store before callers of the API, and carriers that send again, "
        "are asked to come later.",
    )
    waiting_deliveries: Count = Field(
        1_000_000, description="How many deliveries may wait before `/readyz` asks for no more traffic."
    )


class Worker(Table):
    """How deliveries are shared among processes."""

    lease_seconds: float = Field(
        3.0, ge=0.5, le=60, description="How long a shard of a worker that died stays with it."
    )


class Ledger(Table):
    """Where the proof of consent is kept, and for how long."""

    url: Annotated[str, BeforeValidator(_folder_url)] = Field(
        description="Folder of its files, or a URL that fsspec knows, such as `s3://BUCKET/FOLDER`."
    )
    keep_years: float = Field(5, gt=0, le=100, description="How long its files are kept.")
    seal_rows: int = Field(20_000, ge=1, le=1_000_000, description="How many rows of a shard make a file.")
    seal_minutes: float = Field(
        1440, gt=0, le=43_200, description="How old rows get before they are made a file, however few."
    )


class Account(Table):
    """A carrier account."""

    filled: ClassVar[frozenset[str]] = frozenset({"options"})

    carrier: str = Field(examples=["NAME"], description="Name of the carrier adapter.")
    public_url: Annotated[str, AfterValidator(_carrier_url)] | None = Field(
        description="The URL given to the carrier, if not `server.public_url` + `/in/ACCOUNT`; None if the proxy tells."
    )
    trust_proxy_headers: bool = Field(
        False,
        description="Whether the URL given to the carrier is read from `X-Forwarded-Proto` and `X-Forwarded-Host`.",
    )
    dedupe_hours: int = Field(ge=1, le=720, description="`store.dedupe_hours` for this account.")
    timeout_seconds: float = Field(10, gt=0, le=300, description="How long sending one reply may take.")
    allow_private: bool = Field(
        False, description="Allows `http://`, this machine and private networks for what replies are sent to."
    )
    private_hosts: PrivateHosts = ()
    options: Options


class Destination(Table):
    """A platform that events are delivered to."""

    filled: ClassVar[frozenset[str]] = frozenset({"options"})

    platform: str = Field(examples=["webhook"], description="Name of the platform adapter.")
    timeout_seconds: float = Field(10, gt=0, le=300, description="How long one request may take.")
    allow_private: bool = Field(False, description="Allows `http://`, this machine and private networks.")
    private_hosts: PrivateHosts = ()
    give_up_after_hours: float = Field(72, gt=0, le=720, description="When a failing delivery becomes a dead letter.")
    objective_known_seconds: float = Field(
        5, gt=0, le=3600, description="What a delivery should take for a known number, for dashboards and alerts."
    )
    objective_unknown_seconds: float = Field(15, gt=0, le=3600, description="The same for a number that was unknown.")
    retry_unknown_outcomes: bool = Field(
        True,
        description="Whether what may have arrived already, although no answer came, is sent again or a dead letter.",
    )
    options: Options


def bearing_on(program: str, numbers: Iterable[Number]) -> tuple[str, ...]:
    """The consents that the state of a program with these numbers follows from: the one that was given or taken back
    last holds.
    """
    return (program, *dict.fromkeys(f"@{number.account}" for number in numbers), EVERYTHING)


class Settings(Table):
    """The whole file at `path`. Accounts, programs and destinations by their names.

    `warnings` are about what can be used as it stands, and may not be what was meant.
    """

    filled: ClassVar[frozenset[str]] = frozenset({"path", "warnings"})

    path: Path
    warnings: tuple[Problem, ...]
    server: Server
    store: Store
    api: Api
    limits: Limits
    worker: Worker
    ledger: Ledger
    accounts: Mapping[str, Account]
    numbers: tuple[Number, ...]
    programs: Mapping[str, Program]
    destinations: Mapping[str, Destination]

    def program_options(self, destination: str) -> dict[str, tuple[str, Any]]:
        """program id → (program name, its `ProgramOptions`), for the programs that send to the destination."""
        return {
            program.id: (program.name, program.destinations[destination])
            for program in self.programs.values()
            if destination in program.destinations
        }

    def numbers_of(self) -> dict[str, list[Number]]:
        """The numbers of each program, by its id, in the order of the file."""
        found: dict[str, list[Number]] = {program: [] for program in self.programs}
        for number in self.numbers:
            for program in dict.fromkeys(number.program):
                found[program].append(number)
        return found

    def parts(self) -> Iterator[object]:
        """What it holds the most of."""
        yield from (keyword for program in self.programs.values() for keyword in program.keywords)
