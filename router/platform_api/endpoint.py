"""What every operation has in common: the key, its permission, the limit, and errors in the platform's shape."""

from pydantic import BaseModel

from router.errors import BadToken, CallRefused, RateLimited, RequestError, StoreUnavailable
from router.platform_api.context import Context
from router.platform_api.keys import authenticated, authorise
from router.platform_api.limits import Limiter, Standing
from router.platform_api.models import Refusal
from router.platform_api.operations import Operation
from router.routing import API_ACCOUNT
from router.telemetry import Metrics
from router.types import Answer, RawRequest

_AWAY = "Service Unavailable: the store is away. Send it again in a moment: what is recorded already is not done twice."


class Endpoint:
    """One operation without its HTTP."""

    def __init__(self, operation: Operation, context: Context, limiter: Limiter, metrics: Metrics) -> None:
        self._operation = operation
        self._context = context
        self._limiter = limiter
        self._metrics = metrics

    async def receive(self, request: RawRequest) -> Answer:
        """Never raises a `RouterError`. Only calls with a key that may make them count."""
        standing = self._limiter.last(self._operation.limit)
        try:
            operator, key = authenticated(request, self._context.settings().api.keys)
            authorise(key, self._operation.permissions)
            standing = await self._limiter.take(self._operation.limit)
            if standing and standing.exceeded:
                raise RateLimited("Rate Limited")
            found = await self._operation.handle(self._context, operator, request)
        except StoreUnavailable as error:
            self._metrics.requests.add(API_ACCOUNT, type(error).__name__)
            return _answer(503, Refusal(message=_AWAY), standing, ("retry-after", "1"))
        except RequestError as error:
            return self._refused(error, standing)
        self._metrics.requests.add(API_ACCOUNT, "accepted")
        return _answer(self._operation.status, found, standing)

    def refuse(self, _: str, error: RequestError) -> Answer:
        """The answer to a request that could not even be read."""
        return self._refused(error, self._limiter.last(self._operation.limit))

    def _refused(self, error: RequestError, standing: Standing | None) -> Answer:
        self._metrics.requests.add(API_ACCOUNT, type(error).__name__)
        problems = error.problems if isinstance(error, CallRefused) else ()
        refusal = Refusal(message=str(error), errors=list(problems) or None)
        more = []
        if isinstance(error, BadToken):
            more.append(("www-authenticate", "Bearer"))
        if isinstance(error, RateLimited) and standing:
            more.append(("retry-after", str(standing.wait)))
        return _answer(error.status, refusal, standing, *more)


def _answer(status: int, found: BaseModel, standing: Standing | None, *more: tuple[str, str]) -> Answer:
    headers = standing.headers() if standing else ()
    return Answer(status, found.model_dump_json(exclude_none=True).encode(), "application/json", (*headers, *more))
