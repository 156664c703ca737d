"""`POST /v1/messages`: a neighbour service hands over a text and gets the decision; sending the reply is its part."""

from collections.abc import Callable, Iterable
from typing import Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router.acceptance import Accepted
from router.bearer import digest, is_json, same, token_digest
from router.errors import BadPayload, BadToken, Overloaded, RequestError, StoreUnavailable, WrongContentType
from router.pipeline import Pipeline
from router.ports import Secret
from router.routing import API_ACCOUNT
from router.telemetry import Metrics
from router.types import Answer, Channel, Decision, Inbound, Media, RawRequest

_RETRY_AFTER = (("retry-after", "1"),)


class MediaBody(BaseModel):
    """A picture or file that came with a text."""

    model_config = ConfigDict(extra="forbid", strict=True)
    url: str | None = None
    id: str | None = None
    content_type: str | None = None


class MessageBody(BaseModel):
    """A text. `id` makes the text one: the same id again has no second effect, and gets the same answer, less a
    reply that the person must not get any more.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    id: Annotated[str, Field(min_length=1, max_length=256)]
    sender: Annotated[str, Field(alias="from", min_length=1, max_length=64)]
    to: Annotated[str, Field(min_length=1, max_length=64)]
    text: Annotated[str, Field(max_length=100_000)] = ""
    channel: Channel = "sms"
    media: Annotated[list[MediaBody], Field(max_length=20)] = []


class MessageAnswer(BaseModel):
    """The id of the event, and what was decided."""

    id: str
    decision: Decision


class MessageProblem(BaseModel):
    """What kind of error it is, and what to do."""

    error: str
    message: str


class MessagesApi:
    """The endpoint without its HTTP."""

    def __init__(self, pipeline: Pipeline, tokens: Callable[[], Iterable[Secret]], metrics: Metrics) -> None:
        """`tokens` gives those that are configured now: a reload may change them."""
        self._pipeline = pipeline
        self._metrics = metrics
        self._tokens = tokens

    async def receive(self, request: RawRequest) -> Answer:
        """Never raises a `RouterError`. Errors are JSON: `{"error": NAME, "message": …}`."""
        try:
            self._authenticate(request)
            if self._pipeline.crowded:
                raise Overloaded
            accepted = await self._accept(request)
        except StoreUnavailable as error:
            self._metrics.requests.add(API_ACCOUNT, type(error).__name__)
            return _problem(503, error, _RETRY_AFTER)
        except RequestError as error:
            return self.refuse(request.account, error)
        self._metrics.requests.add(API_ACCOUNT, "accepted")
        answer = MessageAnswer(id=accepted.event_id, decision=accepted.decision)
        return Answer(200, orjson.dumps(dict(answer)), "application/json")

    def refuse(self, account: str, error: RequestError) -> Answer:
        """The answer to a request that cannot be accepted."""
        self._metrics.requests.add(account, type(error).__name__)
        challenge = (("www-authenticate", "Bearer"),) if isinstance(error, BadToken) else ()
        return _problem(error.status, error, challenge)

    def _authenticate(self, request: RawRequest) -> None:
        given = token_digest(request)
        # Each is compared, whichever fits: the time taken tells nothing.
        fitting = [secret for secret in self._tokens() if same(given, digest(secret.reveal()))]
        if not fitting:
            raise BadToken("send the header `Authorization: Bearer TOKEN` with a token of [api] in the configuration.")
        if not is_json(request):
            raise WrongContentType("send the text as `Content-Type: application/json`.")

    async def _accept(self, request: RawRequest) -> Accepted:
        try:
            body = MessageBody.model_validate_json(request.body)
            text = Inbound(
                message_id=body.id,
                sender=body.sender,
                recipient=body.to,
                text=body.text,
                channel=body.channel,
                media=tuple(Media(media.url, media.id, media.content_type) for media in body.media),
            )
            return (await self._pipeline.accept(request, [text]))[0]
        except ValidationError as error:
            malformed = BadPayload("; ".join(_place(found["loc"]) + found["msg"] for found in error.errors()))
        except BadPayload as error:
            malformed = error
        await self._pipeline.keep(request, str(malformed))
        raise malformed


def _place(loc: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, loc))}: " if loc else ""


def _problem(status: int, error: Exception, headers: tuple[tuple[str, str], ...]) -> Answer:
    body = MessageProblem(error=type(error).__name__, message=str(error))
    return Answer(status, orjson.dumps(dict(body)), "application/json", headers)
