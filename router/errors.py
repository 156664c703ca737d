"""The errors that keyroute raises on purpose.

RouterError
├── ConfigurationError    the file cannot be used; carries every problem found
├── RequestError          a request that gets an answer other than 2xx (`status`)
│   ├── BadSignature      403  not from the carrier, or not for us
│   ├── BadToken          401  the caller of our own API is not known
│   ├── UnknownAccount    404  no account of that name
│   ├── BadPayload        400  authentic, but unusable; kept as a dead letter
│   ├── CallRefused       400  a call of the platform-shaped API; carries what is wrong with its items
│   ├── AccessDenied      403  the caller's key lacks the permission
│   ├── RateLimited       429  more calls than are allowed
│   ├── TooManyFields     400  a form with more fields than any carrier sends
│   ├── BodyTooLarge      413
│   └── WrongContentType  415
├── StoreUnavailable      the store is away or too slow; nothing was acknowledged
│   └── Overloaded        too many texts wait for it
├── StoreMismatch         the store was set up differently from the configuration
├── AddressUnusable       the server cannot listen where it was told to
├── WorkerLost            a process that had part of the work was killed
├── LeaseLost             another worker holds the shard now
├── UnusableFile          a file that is to be imported cannot be read at all
├── NoSuchLetter          no dead letter has that id
├── OutdatedLetter        the person has said something else since
├── NowhereToGo           the destination of a dead letter is not configured
├── LedgerUnavailable     the ledger's files cannot be read or written now
├── DamagedLedger         a row or a file of the ledger is not as it was written
├── AdapterError          a carrier or platform adapter cannot be used
└── DeliveryError         a platform or carrier did not take what it was sent
    └── SendError         a carrier said why it did not send a text (`failure`)

The compiled core raises ValueErrors of its own: `TooManyFieldsError` and `NumberParseError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from router.types import SendFailure


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration file. `line` counts from 1; 0 means the file as a whole."""

    line: int
    key: str
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.key}: {self.message} {self.remedy}"


class RouterError(Exception):
    """The root of the tree."""


class ConfigurationError(RouterError):
    """A configuration file that cannot be used, with all of its problems at once."""

    def __init__(self, path: str, problems: Sequence[Problem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__(f"{path}: {len(self.problems)} problem(s)\n" + "\n".join(f"  {p}" for p in self.problems))


class RequestError(RouterError):
    """A request that cannot be accepted. `status` is the answer where the carrier leaves it open."""

    status = 400


class BadSignature(RequestError):
    """The request does not prove that it comes from the carrier."""

    status = 403


class BadToken(RequestError):
    """The caller of our own API gave no token, or one that is not configured."""

    status = 401


class UnknownAccount(RequestError):
    """No account of that name is configured."""

    status = 404


class BadPayload(RequestError):
    """The request is authentic and makes no sense; the text says which part and what was expected."""


class CallRefused(RequestError):
    """A call of the platform-shaped API that does nothing. `problems` are those of its items, ready for the answer."""

    def __init__(self, message: str, problems: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class AccessDenied(RequestError):
    """The key of a caller does not have the permission."""

    status = 403


class RateLimited(RequestError):
    """More calls than are allowed in a window of time."""

    status = 429


class TooManyFields(RequestError):
    """A form with more fields than any carrier sends."""


class BodyTooLarge(RequestError):
    """The body is over the configured limit."""

    status = 413


class WrongContentType(RequestError):
    """The body is of a type that this address does not take."""

    status = 415


class StoreUnavailable(RouterError):
    """The store is away, full or too slow. What was being written may or may not have been written."""


class Overloaded(StoreUnavailable):
    """More texts wait for the store than it takes in a while; nothing of the request was looked at."""

    def __init__(self) -> None:
        super().__init__("more texts wait than limits.waiting_texts allows. Send it again in a second.")


class StoreMismatch(RouterError):
    """The store was set up differently from what the configuration says."""


class AddressUnusable(RouterError):
    """The server cannot listen where it was told to."""


class WorkerLost(RouterError):
    """A process that had part of the work was killed."""


class LeaseLost(RouterError):
    """Another worker holds the shard now; what was to be written was not."""


class UnusableFile(RouterError):
    """A file that is to be imported, and of which no row can be read."""


class NoSuchLetter(RouterError):
    """No dead letter has that id."""


class OutdatedLetter(RouterError):
    """Delivering the dead letter now would tell the platform what the person has taken back since."""


class NowhereToGo(RouterError):
    """The destination that a dead letter was meant for is not configured."""


class LedgerUnavailable(RouterError):
    """The ledger's files cannot be read or written now."""


class DamagedLedger(RouterError):
    """A row or a file of the ledger is not as it was written, or is gone."""


class AdapterError(RouterError):
    """A carrier or platform adapter cannot be used. `remedy` says what to do, as a sentence."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.message = message
        self.remedy = remedy


class DeliveryError(RouterError):
    """A platform or carrier did not take what it was sent.

    `retryable` tells whether the same request can succeed later; `retry_after` is the pause that the platform asked
    for, in seconds. `outcome_unknown` is set when the platform may have acted although no answer came. `request` says
    what was asked of which address, `answer` what came back, both fit to be kept with a dead letter; empty where that
    is not known.
    """

    def __init__(
        self,
        reason: str,
        *,
        retryable: bool,
        retry_after: float | None = None,
        status: int | None = None,
        outcome_unknown: bool = False,
        request: str = "",
        answer: str = "",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.retry_after = retry_after
        self.status = status
        self.outcome_unknown = outcome_unknown
        self.request = request
        self.answer = answer

    def because(self, reason: str) -> "DeliveryError":
        """The same for good, for a reason that says more."""
        return DeliveryError(
            reason,
            retryable=False,
            status=self.status,
            outcome_unknown=self.outcome_unknown,
            request=self.request,
            answer=self.answer,
        )


class SendError(DeliveryError):
    """A carrier did not send a text, and said why. What passes (`throttled`, `temporary`, `auth`) is tried again."""

    def __init__(
        self,
        reason: str,
        failure: SendFailure,
        *,
        retry_after: float | None = None,
        status: int | None = None,
        outcome_unknown: bool = False,
        request: str = "",
        answer: str = "",
    ) -> None:
        super().__init__(
            reason,
            retryable=failure in ("throttled", "temporary", "auth"),
            retry_after=retry_after,
            status=status,
            outcome_unknown=outcome_unknown,
            request=request,
            answer=answer,
        )
        self.failure = failure
