"""Every operation of the API: its address, who may call it, how often, what it takes and what it answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import BaseModel

from router.platform_api import aliases, limits, status, track
from router.platform_api.context import Context
from router.platform_api.limits import Limit
from router.platform_api.models import (
    AliasesNew,
    AliasesProcessed,
    AliasesUpdate,
    Statuses,
    StatusQuery,
    StatusSet,
    StatusSetV2,
    Success,
    Track,
    Tracked,
    UserStatus,
    UserStatusQuery,
)
from router.types import RawRequest

#: Given the name of the caller's key. Raises `CallRefused` and `StoreUnavailable`.
Handler = Callable[[Context, str, RawRequest], Awaitable[BaseModel]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One of the `permissions` is enough. `takes` is the body of a POST, the query of a GET."""

    method: str
    path: str
    handle: Handler
    permissions: tuple[str, ...]
    limit: Limit
    takes: type[BaseModel]
    answers: type[BaseModel]
    summary: str

    @property
    def status(self) -> int:
        """The code of success."""
        return 201 if self.method == "POST" else 200


OPERATIONS = (
    Operation(
        "POST",
        "/users/track",
        track.track,
        ("users.track",),
        limits.TRACK,
        Track,
        Tracked,
        "Consent in attributes, and events that subscribe",
    ),
    Operation(
        "POST",
        "/users/alias/new",
        aliases.new,
        ("users.alias.new",),
        limits.ALIASES,
        AliasesNew,
        AliasesProcessed,
        "Make people known by their number",
    ),
    Operation(
        "POST",
        "/users/alias/update",
        aliases.update,
        ("users.alias.update",),
        limits.ALIASES,
        AliasesUpdate,
        AliasesProcessed,
        "Move external ids to another number",
    ),
    Operation(
        "POST",
        "/subscription/status/set",
        status.set_status,
        ("subscription.status.set",),
        limits.STATUS_SET,
        StatusSet,
        Success,
        "Set the state of people in one group",
    ),
    Operation(
        "POST",
        "/v2/subscription/status/set",
        status.set_statuses,
        ("subscription.status.set",),
        limits.STATUS_SET,
        StatusSetV2,
        Success,
        "Set the state of people in several groups",
    ),
    Operation(
        "GET",
        "/subscription/status/get",
        status.get_status,
        ("subscription.status.get", "subscription.groups.get"),
        limits.DEFAULT,
        StatusQuery,
        Statuses,
        "The state of people in one group",
    ),
    Operation(
        "GET",
        "/subscription/user/status",
        status.user_status,
        ("subscription.groups.get",),
        limits.DEFAULT,
        UserStatusQuery,
        UserStatus,
        "The groups in which people have a state",
    ),
)
