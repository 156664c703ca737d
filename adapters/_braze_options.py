"""What can be configured of Braze, and what is odd about some of it."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from adapters._http import HttpUrl
from router.ports import Options, Secret


def _check_base(url: str) -> str:
    base = url.rstrip("/")
    if base.count("/") > 2 or "?" in base:
        raise PydanticCustomError(
            "url_shape",
            "has a path or query behind the address of Braze.",
            {"remedy": "Write the REST endpoint of your instance, such as https://rest.iad-01.braze.com."},
        )
    return base


def _check_key(key: Secret) -> Secret:
    written = key.reveal()
    if not (written.isascii() and written.isprintable()) or set(written) & set(" \"'"):
        raise PydanticCustomError(
            "secret_shape",
            "has blanks, quotes or characters that no API key has.",
            {"remedy": "Copy the bare key from Settings > APIs and Identifiers in Braze, without quotes around it."},
        )
    return key


class BrazeOptions(Options):
    """The REST endpoint of the instance, and a key with the permission `users.track`.

    `create`: an unknown person is made known by `/users/alias/new` before the first event (`alias`, which needs the
    permission `users.alias.new`), or by the request that brings it (`with_event`). `consent`: states of subscription
    groups go with the other attributes (`attributes`), or by an endpoint of their own (`status_set`, which needs
    `subscription.status.set`). `look_up` asks who exists before aliases are created, and
    `check_every_seconds` whether those who did still do; both need `users.export.ids`.
    """

    url: Annotated[HttpUrl, AfterValidator(_check_base)]
    api_key: Annotated[Secret, AfterValidator(_check_key)]
    batch_size: int = Field(75, ge=1, le=75)
    objects_in_all: int | None = Field(None, ge=2, le=225)
    requests_at_once: int = Field(8, ge=1, le=64)
    alias_label: str = Field("phone", min_length=1)
    create: Literal["alias", "with_event"] = "alias"
    consent: Literal["attributes", "status_set"] = "attributes"
    look_up: bool = False
    check_every_seconds: float = Field(0.0, ge=0, le=86_400)


class BrazeProgramOptions(Options):
    """Where a program's consent is kept, and what its events are called: if not set, `sms_response_<name>_custom`."""

    subscription_group_id: str | None = Field(None, min_length=1)
    event_name: str | None = Field(None, min_length=1, max_length=255)


def warnings_of(options: BrazeOptions, programs: Mapping[str, tuple[str, BrazeProgramOptions]]) -> Iterable[str]:
    """What works as it is configured, and yet may not be what was meant."""
    untold = sorted(program for program, (_, own) in programs.items() if own.subscription_group_id is None)
    if untold:
        yield (
            f"Braze is not told who opts in or out of {', '.join(untold)}, and may go on texting them. Write the "
            "subscription_group_id of each such program, unless Braze learns of it in another way."
        )
    users: dict[str, list[str]] = {}
    for program, (_, own) in sorted(programs.items()):
        if own.subscription_group_id:
            users.setdefault(own.subscription_group_id, []).append(program)
    for sharing in users.values():
        if len(sharing) > 1:
            yield (
                f"{', '.join(sharing)} have the same subscription_group_id: in Braze, who opts out of one is out of "
                "all. Give each its own group if that is not meant."
            )
    if options.consent == "status_set":
        yield (
            'with consent = "status_set" Braze may take a minute to apply a state, so that a campaign which the same '
            "text starts may still see the one before, and changes nothing for people whose profile lacks the number. "
            'Use consent = "attributes", or set check_every_seconds, which finds such people.'
        )
    if options.look_up and options.create == "with_event":
        yield 'look_up is of no use with create = "with_event", which creates no alias by itself. Leave it out.'
