"""The carrier accounts of a configuration, each with its adapter."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from router import registry
from router.config import Settings
from router.ports import Carrier, FetchesKeys, ReadsHeaders, Secret
from router.records import REPLIES

#: The name that texts of a neighbour service have in place of a carrier account's.
API_ACCOUNT = "api"
#: The headers that reading any request again needs; others may hold credentials.
KEPT_HEADERS = frozenset({"content-type"})


@dataclass(frozen=True, slots=True)
class Account:
    """A carrier account with its adapter. `keys` is the adapter too, if it has to fetch keys; else None.

    `kept_headers` are those that go with a request that is put aside, `secrets` what does not stand in there then.
    `reply_lane` is where texts wait that have to be sent; empty if the carrier cannot send.
    """

    name: str
    carrier: Carrier
    keys: FetchesKeys | None
    dedupe_seconds: int
    kept_headers: frozenset[str]
    secrets: tuple[str, ...]
    reply_lane: str


def read_accounts(settings: Settings) -> dict[str, Account]:
    """The accounts by their names."""
    found = {}
    for name, account in settings.accounts.items():
        carrier = registry.carrier(account.carrier)(name, account.options, account.public_url)
        found[name] = Account(
            name,
            carrier,
            carrier if isinstance(carrier, FetchesKeys) else None,
            account.dedupe_hours * 3600,
            KEPT_HEADERS | (carrier.headers_read if isinstance(carrier, ReadsHeaders) else frozenset()),
            tuple(_secrets(account.options)),
            f"{REPLIES}{name}" if carrier.sends else "",
        )
    return found


def _secrets(options: object) -> Iterator[str]:
    """All secrets in the options of an adapter, however deep."""
    if isinstance(options, Secret):
        yield options.reveal()
    elif isinstance(options, BaseModel):
        yield from _secrets([value for _, value in options])
    elif isinstance(options, Mapping):
        yield from _secrets(list(options.values()))
    elif isinstance(options, list | tuple):
        for option in options:
            yield from _secrets(option)
