"""What stands in for a destination that is not configured any more: what was meant for it becomes dead letters."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel

from router.errors import DeliveryError
from router.ports import Http, Options, OptionsType
from router.types import Event


class Removed:
    """A platform that takes nothing, and says so at once."""

    Options: ClassVar[OptionsType] = Options
    ProgramOptions: ClassVar[OptionsType] = Options
    batch_size = 100
    alias_batch_size = 1
    requests_at_once = 1
    needs_alias = False
    makes_known = False
    one_per_sender = False

    def __init__(self, name: str, options: BaseModel | None = None, programs: object = None) -> None:
        self._name = name

    def wants(self, event: Event) -> bool:
        """Everything that was meant for it."""
        return True

    async def ensure_aliases(self, http: Http, senders: Sequence[str]) -> None:
        """Nobody needs to be known."""

    async def deliver(self, http: Http, events: Sequence[Event]) -> Sequence[DeliveryError | None]:
        """Refuses all for good."""
        raise DeliveryError(
            f"the destination {self._name!r} is not configured any more. Configure it again, then retry",
            retryable=False,
        )
