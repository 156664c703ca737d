"""What one request changes about consent."""

from collections.abc import Iterator
from typing import Literal

from router.calls import Call
from router.groups import Group
from router.types import Proof


class Calls:
    """The calls that one request makes, at most one for a person and program: an opt-out is not taken back by it."""

    def __init__(self, request_id: str, operator: str) -> None:
        self._request_id = request_id
        self._operator = operator
        self._calls: dict[tuple[str, str], Call] = {}
        self._count = 0

    def add(
        self,
        number: str,
        group: Group,
        state: Literal["subscribed", "unsubscribed"],
        *,
        ask: bool,
        rule: str,
        welcome: bool = False,
        source_url: str | None = None,
        consent_text: str | None = None,
        said_at: float | None = None,
    ) -> bool:
        """Whether the person gets that state; not if the same request opts them out of the same program.

        Whom the same request subscribes outright is not asked.
        """
        key = (number, group.program)
        before = self._calls.get(key)
        if before is not None and before.state == "unsubscribed" and state == "subscribed":
            return False
        # Without the question that a double opt-in asks there is nothing to ask.
        ask = ask and group.double_opt_in and state == "subscribed"
        if before is not None and ask and not before.ask:
            return True
        self._count += 1
        self._calls[key] = Call(
            id=f"{self._request_id}:{self._count}",
            sender=number,
            program=group.program,
            state=state,
            ask=ask,
            welcome=welcome,
            rule=rule,
            proof=Proof(source_url, consent_text, self._operator),
            said_at=said_at,
        )
        return True

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls.values())

    def __len__(self) -> int:
        return len(self._calls)
