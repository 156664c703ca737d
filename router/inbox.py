"""An address that takes raw requests: the cap on what comes in, and the way from ASGI to `RawRequest` and back."""

from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from router.errors import BodyTooLarge, RequestError, TooManyFields
from router.ports import MOST_FORM_FIELDS
from router.routing import API_ACCOUNT
from router.types import Answer, RawRequest


class Inbox:
    """An address that takes raw requests: reads the body up to the cap, hands it over, sends the answer.

    Plain ASGI, without request and response objects. Most webhooks do not come so far: see `router.webhooks`.
    """

    def __init__(
        self,
        receive: Callable[[RawRequest], Awaitable[Answer]],
        refuse: Callable[[str, RequestError], Answer],
        max_body_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self._receive = receive
        self._refuse = refuse
        self._max_body_bytes = max_body_bytes
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        account = scope["path_params"].get("account", API_ACCOUNT)
        received_at = self._clock()
        try:
            body = await self._body(receive)
            check_fields(scope["query_string"], body)
        except ClientDisconnect:
            return
        except (BodyTooLarge, TooManyFields) as error:
            await _send(self._refuse(account, error), send)
            return
        request = RawRequest(
            account, scope["method"], scope["query_string"], _headers(scope), body, received_at, _path(scope)
        )
        await _send(await self._receive(request), send)

    async def _body(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body_bytes:
                raise BodyTooLarge(f"the body is over {self._max_body_bytes} bytes (server.max_body_bytes).")
            chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)


def check_fields(query: bytes, body: bytes) -> None:
    """A form must be taken apart before its signature can be checked, so its size is looked at before anything.

    Raises `TooManyFields`.
    """
    for data in (query, body):
        if data.count(b"&") >= MOST_FORM_FIELDS and not data.lstrip().startswith((b"{", b"[")):
            raise TooManyFields(f"a form has at most {MOST_FORM_FIELDS} fields.")


def _path(scope: Scope) -> str:
    raw: bytes | None = scope.get("raw_path")  # a server need not give it
    return scope["path"] if raw is None else raw.decode("latin-1")


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _send(answer: Answer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.content_type:
        headers.append((b"content-type", answer.content_type.encode("latin-1")))
    headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
