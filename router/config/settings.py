"""The configuration as the product sees it: frozen, typed, every default filled in. `router.config` reads it."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from router._core import REGIONS, NumberParseError, classify_address, fold, normalize
from router.config.permissions import Digest, Permission
from router.consent import EVERYTHING, OptInMode, OptOutScope, ReplyKind
from router.errors import Problem
from router.ports import Options, Secret
from router.rules import CustomKeyword, Doubtful, KeywordSet, Layer
from router.types import NumberType

_SHORTEST_TOKEN = 16
_SENDER_NAME = re.compile(r"[A-Za-z0-9 ]{1,11}")


def _error(kind: str, message: str, remedy: str) -> PydanticCustomError:
    # The texts go in as values: a brace in them is not a placeholder.
    return PydanticCustomError(kind, "{message}", {"message": message, "remedy": remedy})


def _path(written: object, info: ValidationInfo) -> Path:
    if not isinstance(written, str | Path) or not str(written).strip():
        raise _error("path_shape", "must be a path.", 'Write it in quotes, such as "data".')
    return Path((info.context or {}).get("folder", "."), written)


def _folder_url(written: object, info: ValidationInfo) -> str:
    """A folder, or what fsspec is asked for: whether it knows such a URL is found when it is used."""
    if not isinstance(written, str) or "://" not in written:
        return str(_path(written, info))
    scheme, _, place = written.partition("://")
    if not (re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) and place.strip("/") and place.isprintable()):
        remedy = 'Write a folder, such as "data/ledger", or a URL such as "s3://BUCKET/FOLDER".'
        raise _error("url_shape", "is not a place for files.", remedy)
    if ":" in place.rpartition("@")[0]:
        remedy = "Take it out: the package that such a URL needs reads it from the environment or a file of its own."
        raise _error("secret_inline", "a password cannot stand in the URL.", remedy)
    return written


def _carrier_url(written: str) -> str:
    """What a carrier was given may hold credentials, which then are part of what it signs."""
    scheme, separator, rest = written.partition("://")
    credentials, at, place = rest.rpartition("@")
    if at and (not credentials.isprintable() or set(credentials) & set(" /?#@")):
        raise _error("url_shape", "is not a web address.", 'Write it as the carrier has it, "https://user:password@…".')
    _http_url(f"{scheme}{separator}{place}")
    return written


def _http_url(written: str) -> str:
    try:
        parts = urlsplit(written)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    bare = written.isprintable() and not set(written) & set(" ?#@")
    if not usable or not bare:
        remedy = 'Write it like "https://sms.example.com/keyroute", without user, query or blanks.'
        raise _error("url_shape", "is not a web address.", remedy)
    return written


def _store_url(written: str) -> str:
    remedy = 'Write "embedded", "redis://HOST:PORT/0", "rediss://HOST:PORT/0" or "unix:///PATH".'
    try:
        parts = urlsplit(written)
        has_password = parts.password is not None or "password" in parse_qs(parts.query)
        over_network = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise _error("url_shape", "is not an address of a store.", remedy) from None
    if has_password:
        remedy = 'Take it out of the URL and write password = "env:NAME" or "file:PATH" below it.'
        raise _error("secret_inline", "a password cannot stand in the URL.", remedy)
    if not (written == "embedded" or over_network or (written.startswith("unix:///") and len(parts.path) > 1)):
        raise _error("url_shape", "is not an address of a store.", remedy)
    return written


def _token(secret: Secret) -> Secret:
    if len(secret.reveal()) < _SHORTEST_TOKEN:
        remedy = (
            f"Put a random one of {_SHORTEST_TOKEN} characters or more there, such as `openssl rand -hex 24` prints."
        )
        raise _error("secret_short", "the token is too short to be safe.", remedy)
    return secret


def _layer(written: Layer) -> Layer:
    if written == "keyword":
        raise _error("layer_needed", "cannot be turned off.", "Remove it: a keyword that stands alone always counts.")
    return written


def _names(written: object) -> object:
    return (written,) if isinstance(written, str) else written


def _number(written: str) -> str:
    kind, address = classify_address(written)
    if kind in ("phone", "short_code"):
        if address == written:
            return written
        doubt = "" if "+" in written else " if its country code is there, else put that in front"
        raise _error("number_form", "is not written in E.164.", f'Write "{address}"{doubt}.')
    if kind == "name" and _SENDER_NAME.fullmatch(address):
        if address == written:
            return written
        raise _error("number_form", "has blanks around it.", f'Write "{address}".')
    remedy = (
        'Write it in E.164, such as "+14155550199", as a short code of 3 to 6 digits, such as "20202", or as the name '
        'that texts are sent from, 1 to 11 of A-Z, a-z, 0-9 and blanks, such as "Acme Deals".'
    )
    raise _error("number_form", "is neither a phone number nor a short code nor a name to send from.", remedy)


def _region(written: str) -> str:
    if written not in REGIONS:
        raise _error("country", "is not a country.", 'Write its two capital letters, such as "CA" or "GB".')
    return written


def country_of(number: str) -> str | None:
    """The region of a number; None for a short code, a name, and a number that no numbering plan has."""
    try:
        return normalize(number).region if number.startswith("+") else None
    except NumberParseError:
        return None


def _text(written: str) -> str:
    if not written.strip():
        raise _error("blank", "is blank.", "Write the text that people get, or remove the key.")
    return written


def _word(written: str) -> str:
    if not fold(written):
        raise _error("blank", "has nothing in it that a person could text.", "Write a word, or remove it.")
    return written


#: An alphanumeric number is a name: texts are sent from it, and none arrives.
NumberKind = Literal[NumberType, "alphanumeric"]
Count = Annotated[int, Field(ge=1)]
Url = Annotated[str, AfterValidator(_http_url)]
#: A path; a relative one counts from the folder of the configuration file.
Location = Annotated[Path, BeforeValidator(_path)]
Text = Annotated[str, AfterValidator(_text), Field(max_length=1600)]
Word = Annotated[str, AfterValidator(_word), Field(max_length=160)]
# A list in the file is a tuple here; only that is converted, what it holds stays strict.
AsTuple = Field(strict=False)


class Table(BaseModel):
    """A table of the file. Unknown keys are errors; values are never coerced."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True, validate_default=True
    )
    #: Fields that do not stand in the table: the reader fills them in.
    filled: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def key_names(cls) -> list[str]:
        """The keys that may stand in the table."""
        return [name for name in cls.model_fields if name not in cls.filled]


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
    timeout_seconds: float = Field(2.0, gt=0, le=60, description="How long the store may take to answer.")
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
    options: Options


class Number(Table):
    """A number that people text to, or a name that texts are sent from."""

    number: Annotated[str, AfterValidator(_number)] = Field(
        examples=["+14155550199"],
        description="E.164 with `+`, a short code of 3 to 6 digits, or a name that texts are sent from.",
    )
    account: str = Field(examples=["NAME"], description="The account that its texts come from.")
    type: NumberKind = Field(examples=["long_code"], description="What kind of number it is.")
    program: Annotated[tuple[str, ...], BeforeValidator(_names), AsTuple] = Field(
        min_length=1,
        examples=["alerts"],
        description="The program that its texts belong to; a list for several, of which START alone means the first.",
    )
    country: Annotated[str, AfterValidator(_region)] | None = Field(
        None, description="Of a short code or a name, two letters: its rules and rates. A phone number tells its own."
    )
    way_out: Text | None = Field(
        None, description="Of a name: what people do to opt out, as they cannot text it (`STOP to 36111`)."
    )
    opt_out_scope: OptOutScope = Field(
        "program",
        description="What an opt-out ends at least: the `program` it names, all of the `number`, `account`, or `all`.",
    )
    reference: str | None = Field(
        None, min_length=1, description="What the carrier calls the number where its webhooks do not name it."
    )
    carrier_answers: Annotated[tuple[Literal["opt_out", "opt_in", "help"], ...], AsTuple] | None = Field(
        None,
        description="What the carrier itself answers here, if not what it does by default: keyroute stays silent.",
    )
    texts_per_second: float | None = Field(
        None, gt=0, description="How many texts the number may send, if the carrier has agreed to another rate."
    )


class Replies(Table):
    """What a program answers in one language."""

    opt_in: Text | None = Field(None, description="Welcome, when somebody has subscribed.")
    prompt: Text | None = Field(None, description="Question of a double opt-in.")
    opt_out: Text | None = Field(None, description="The one confirmation of an opt-out.")
    choice: Text | None = Field(
        None, description="The same for a number of several programs, with the question which to keep (`KEEP DEALS`)."
    )
    help: Text | None = Field(None, description="Answer to HELP.")
    none: Text | None = Field(None, description="Answer to what matched nothing; silence if not set.")
    doubtful: Text | None = Field(None, description='Question to who may have opted out, for doubtful = "ask".')


class Keyword(Table):
    """A program's own keyword."""

    words: Annotated[tuple[Word, ...], AsTuple] = Field(
        min_length=1, examples=[["COUPONS", "COUPON"]], description="The keyword and its other spellings."
    )
    intent: Literal["custom", "opt_in", "opt_out", "help", "confirm"] = Field("custom", description="What it means.")
    anywhere: bool = Field(False, description="Whether it counts between other words too, wherever it stands.")
    replies: Mapping[str, Text] = Field({}, description="Answer by language, for the intent `custom`.")


class Program(Table):
    """One purpose with one consent state per person. `destinations`: name → what the program tells that platform."""

    filled: ClassVar[frozenset[str]] = frozenset({"id"})

    id: str
    name: str = Field(min_length=1, examples=["Weekly deals"], description="What platforms call the program.")
    group_id: str | None = Field(
        None,
        min_length=1,
        description="What callers of the API and CSV files call it (`subscription_group_id`), beside its id.",
    )
    channel: Literal["sms", "whatsapp"] = Field("sms", description="`sms` takes MMS and RCS too.")
    purpose: Literal["marketing", "transactional"] = Field(
        "marketing", description="Whether it is meant where people refuse marketing messages alone."
    )
    languages: Annotated[tuple[str, ...], AsTuple] = Field(
        ("en",), min_length=1, description="Languages of its people; the first answers where a language has no text."
    )
    opt_in: OptInMode = Field(
        "single",
        description="Whether START subscribes, or asks for a YES first (`double`), or does both (`subscribe_first`).",
    )
    confirm_within_days: int = Field(30, ge=1, le=365, description="How long that YES may take.")
    opt_in_events: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=255)], ...], AsTuple] = Field(
        (), description="Custom events of `/users/track` that subscribe a person, such as `phone_number_captured`."
    )
    choose_within_hours: int = Field(
        24, ge=1, le=720, description="How long somebody who was asked which programs to keep may name one."
    )
    called: Annotated[tuple[Word, ...], AsTuple] = Field(
        (),
        description="What else people call it behind STOP or START on a shared number, beside its id and name.",
    )
    reserved_words: bool | None = Field(
        None,
        description="Whether STOP, START, HELP and YES count when typed: if not set, on SMS, and not on WhatsApp.",
    )
    doubtful: Doubtful = Field(
        "opt_out", description="What may be an opt-out: is one, is asked about once a day, or left alone."
    )
    layers_off: Annotated[tuple[Annotated[Layer, AfterValidator(_layer)], ...], AsTuple] = Field(
        (), description="Ways of understanding that are not used: names of layers."
    )
    replies: Mapping[str, Replies] = Field({}, description="Texts by language; see below.")
    keywords: tuple[Keyword, ...] = Field((), description="Keywords of its own; see below.")
    destinations: Mapping[str, Options] = Field({}, description="Where its events go; see below.")

    @cached_property
    def keyword_set(self) -> KeywordSet:
        """What the program listens to."""
        custom = [
            CustomKeyword(word, keyword.intent, keyword.replies, keyword.anywhere)
            for keyword in self.keywords
            for word in keyword.words
        ]
        reserved = self.channel == "sms" if self.reserved_words is None else self.reserved_words
        off = frozenset(self.layers_off)
        return KeywordSet(self.id, self.languages, tuple(custom), off, self.doubtful, reserved=reserved)

    @property
    def reply_texts(self) -> dict[str, dict[ReplyKind, str]]:
        """language → kind of reply → text, of those that are set."""
        kinds: tuple[ReplyKind, ...] = ("opt_in", "prompt", "opt_out", "choice", "help", "none", "doubtful")
        return {
            language: {kind: text for kind in kinds if (text := getattr(replies, kind)) is not None}
            for language, replies in self.replies.items()
        }


class Destination(Table):
    """A platform that events are delivered to."""

    filled: ClassVar[frozenset[str]] = frozenset({"options"})

    platform: str = Field(examples=["webhook"], description="Name of the platform adapter.")
    timeout_seconds: float = Field(10, gt=0, le=300, description="How long one request may take.")
    allow_private: bool = Field(False, description="Allows `http://`, this machine and private networks.")
    give_up_after_hours: float = Field(72, gt=0, le=720, description="When a failing delivery becomes a dead letter.")
    options: Options


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

    def bearing_on(self, program: str) -> tuple[str, ...]:
        """The consents that the state of a program follows from: the one that was given or taken back last holds."""
        accounts = dict.fromkeys(f"@{number.account}" for number in self.numbers if program in number.program)
        return (program, *accounts, EVERYTHING)

    def parts(self) -> Iterator[object]:
        """What it holds the most of."""
        yield from (keyword for program in self.programs.values() for keyword in program.keywords)
