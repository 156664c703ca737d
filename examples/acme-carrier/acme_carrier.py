"""Acme, a carrier that does not exist: the example of keyroute's docs/writing-a-carrier.md.

Texts from people, and reports on texts to them, come as a batch of JSON; `X-Acme-Signature` is the HMAC-SHA256 of the
body in hex. Replies go out by Acme's API.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import Field

from router.errors import BadPayload, BadSignature, RequestError, RouterError, SendError
from router.ports import (
    TOLL_FREE_ANSWERS,
    TOLL_FREE_COUNTRIES,
    CarrierAnswers,
    Http,
    Options,
    OptionsType,
    Parsed,
    Secret,
)
from router.types import (
    Answer,
    HttpResponse,
    Inbound,
    Intent,
    Media,
    NumberType,
    Outgoing,
    RawRequest,
    Receipt,
    SendFailure,
)

#: What becomes of a text in the end, by `result`: None is delivered. Whatever else is still under way.
_FINAL: Mapping[str, SendFailure | None] = {"delivered": None, "failed": "permanent", "opted_out": "opted_out"}
#: What Acme's errors mean, and what a status means where there is none.
_FAILURES: Mapping[str, SendFailure] = {
    "opted_out": "opted_out",
    "no_such_number": "invalid_number",
    "wrong_key": "auth",
}
_BY_STATUS: Mapping[int, SendFailure] = {401: "auth", 403: "auth", 429: "throttled"}
#: Of a longer pause, in seconds, a fault may be the cause.
_LONGEST_PAUSE = 3600.0


class AcmeOptions(Options):
    """The keys of an Acme account in the configuration file.

    `signing_keys` are what Acme signs with, the new one first while it is changed. `api_key` is needed to send.
    """

    signing_keys: Annotated[tuple[Secret, ...], Field(min_length=1, strict=False)]
    api_key: Secret | None = None
    api_url: Annotated[str, Field(pattern=r"^https?://[^/]+$")] = "https://api.acme.example"


class Acme:
    """One account at Acme."""

    Options: ClassVar[OptionsType] = AcmeOptions
    retries = True
    replies_inline = False
    idempotent = True

    def __init__(self, account: str, options: AcmeOptions, public_url: str | None) -> None:
        self.sends = options.api_key is not None
        self._keys = [key.reveal().encode() for key in options.signing_keys]
        self._api_key = options.api_key.reveal() if options.api_key else ""
        self._api_url = options.api_url

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless one of the account's keys signed the body."""
        given = request.headers.get("x-acme-signature", "").encode("utf-8", "replace")
        expected = [hmac.digest(key, request.body, "sha256").hex().encode() for key in self._keys]
        # All are compared, so the time taken tells nothing.
        fits = [hmac.compare_digest(given, signature) for signature in expected]
        if not any(fits):
            raise BadSignature("X-Acme-Signature does not fit. Check signing_keys of this account.")

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The texts and reports of a batch. One that makes no sense does not lose the others."""
        try:
            batch = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            raise BadPayload("The body is not JSON. Send only Acme's webhooks here.") from None
        return [*_each(batch, "messages", _texts), *_each(batch, "reports", _receipts)]

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """Only the status counts. Acme offers again what gets a 5xx, and shows the reason of a 4xx in its console."""
        if isinstance(result, BadSignature):
            return Answer(403)
        if isinstance(result, RequestError):
            return Answer(result.status, str(result).encode(), "text/plain")
        return Answer(503) if isinstance(result, RouterError) else Answer(200)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """Only the network behind toll-free numbers of the US and Canada answers STOP and START."""
        return TOLL_FREE_ANSWERS if number_type == "toll_free" and country in TOLL_FREE_COUNTRIES else {}

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """As Acme's price list says, whatever the number."""
        return 10

    async def send(self, http: Http, message: Outgoing) -> str:
        """Acme sends one text for each `Idempotency-Key`, so repeating a request is harmless."""
        response = await http.request(
            "POST",
            f"{self._api_url}/texts",
            headers={
                "Authorization": f"Bearer {self._api_key}",
                "Content-Type": "application/json",
                "Idempotency-Key": message.id,
            },
            body=orjson.dumps({"from": message.sender, "to": message.recipient, "text": message.text}),
        )
        found = _answered(response)
        if response.status // 100 == 2 and found.get("id"):
            return str(found["id"])
        raise _send_error(response, str(found.get("error", "")))


def _each(batch: Any, name: str, read: Callable[[Any], list[Parsed]]) -> list[Parsed]:
    found = batch.get(name, []) if isinstance(batch, dict) else None
    if not isinstance(found, list):
        raise BadPayload(f"There is no list of {name} in the body. Send only Acme's webhooks here.")
    parsed: list[Parsed] = []
    for entry in found:
        try:
            parsed += read(entry)
        except BadPayload as error:
            parsed.append(error)
    return parsed


def _texts(entry: Any) -> list[Parsed]:
    """The text that an entry is; nothing for one without words and pictures."""
    message_id, sender, recipient = (_word(entry, name) for name in ("id", "from", "to"))
    if not (message_id and sender and recipient):
        raise BadPayload("id, from or to of a message is missing. Send only Acme's webhooks here.")
    words, picture = _word(entry, "text"), _word(entry, "picture")
    media = (Media(url=picture),) if picture else ()
    found = Inbound(message_id, sender, recipient, words, channel="mms" if media else "sms", media=media)
    return [found] if words or media else []


def _receipts(entry: Any) -> list[Parsed]:
    """What became of a text that was sent; nothing while it is under way."""
    message_id, result = _word(entry, "id"), _word(entry, "result")
    if not message_id or result not in _FINAL:
        return []
    failure = _FINAL[result]
    sender, recipient = _word(entry, "from"), _word(entry, "to")
    return [Receipt(message_id, sender or None, recipient or None, failure, result if failure else None)]


def _word(entry: Any, name: str) -> str:
    """A field that is a text; empty if it is missing."""
    found = entry.get(name, "") if isinstance(entry, dict) else None
    if not isinstance(found, str):
        raise BadPayload(f"{name} of an entry is no text. Send only Acme's webhooks here.")
    return found


def _answered(response: HttpResponse) -> dict[str, Any]:
    try:
        found = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _send_error(response: HttpResponse, error: str) -> SendError:
    """The error that an answer stands for. It repeats nothing that could be a number, a text or a secret."""
    by_status = _BY_STATUS.get(response.status, "temporary" if response.status >= 500 else "permanent")
    pause = response.headers.get("retry-after", "")
    return SendError(
        f"Acme answered {response.status}, error {error if error in _FAILURES else 'unknown'}.",
        _FAILURES.get(error, by_status),
        retry_after=min(float(pause), _LONGEST_PAUSE) if pause.isascii() and pause.isdecimal() else None,
        status=response.status,
    )
