"""Infobip: SMS, MMS and WhatsApp arrive in batches at one address; replies go out by its API, each under our own id.

Facts: Infobip's pages on subscriptions and sending, and infobip-api-java-client. How the HMAC of a subscription is
written is published nowhere, so all of it is configured.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from adapters._credentials import CallerOptions, Check, caller_checks, check_any, require_proof
from adapters._http import HttpUrl, json_body
from adapters._networks import answered_by_network, network_rate
from adapters._requests import check_secret, error_answer
from adapters._sending import response_json, send_error
from adapters._signing import Algorithm, SigningKey, matches
from adapters.carriers.infobip_webhooks import FAILURES, FINAL, read_webhook
from router.errors import BadSignature, RouterError
from router.ports import CarrierAnswers, Http, Options, OptionsType, Parsed, Secret
from router.types import Answer, HttpResponse, Intent, NumberType, Outgoing, RawRequest

#: The status of a text whose id Infobip has seen before.
_DUPLICATE = "23"
#: The groups of statuses that end badly, by their numbers: undeliverable, expired, rejected.
_REFUSED = (2, 4, 5)
_RATE = 30.0
#: Of how many texts that were refused it is remembered how often.
_MOST_REMEMBERED = 1000


class Hmac(Options):
    """How the HMAC of a notification profile is written: `header` holds `prefix` and the digest of the body.

    `secrets` are live, the new one first while it is changed.
    """

    header: Annotated[str, Field(min_length=1)]
    secrets: Annotated[tuple[Secret, ...], Field(min_length=1, strict=False)]
    algorithm: Algorithm = "sha256"
    prefix: str = ""
    encoding: Literal["hex", "base64"] = "hex"


class InfobipOptions(CallerOptions):
    """The keys of an Infobip account in the configuration file, beside those of `CallerOptions`.

    `bearer_tokens` are what arrives from a profile with OAuth, if its tokens do not change. `hmac` is for a profile
    with HMAC. `retries` can be true once it is known that Infobip repeats texts after a 5xx: it documents that for
    receipts only. `api_key` and `api_url`, which is the account's own, are needed to send.
    """

    bearer_tokens: Annotated[tuple[Secret, ...], Field(strict=False)] = ()
    hmac: Hmac | None = None
    retries: bool = False
    api_key: Secret | None = None
    api_url: HttpUrl | None = None

    @model_validator(mode="after")
    def _has_proof(self) -> Self:
        require_proof(self, self.bearer_tokens, self.hmac)
        return self


class Infobip:
    """One Infobip account."""

    Options: ClassVar[OptionsType] = InfobipOptions
    replies_inline = False
    idempotent = True

    def __init__(self, account: str, options: InfobipOptions, public_url: str | None) -> None:
        self.retries = options.retries
        self.sends = bool(options.api_key and options.api_url)
        self._options = options
        self._refused: dict[str, int] = {}
        self._checks = caller_checks(options)
        if options.bearer_tokens:
            self._checks.append(_bearer_check([token.reveal() for token in options.bearer_tokens]))
        if options.hmac:
            self._checks.append(_hmac_check(options.hmac))

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless the request has one of the account's proofs."""
        check_any(request, self._checks)

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The texts in a verified request, what became of those that were sent, or what a person said about consent."""
        return read_webhook(request.body)

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """Only the status counts; anything but a 2xx brings the whole batch again."""
        return error_answer(result) if isinstance(result, RouterError) else Answer(200)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """The network of toll-free numbers; Infobip only where an action was set up for a keyword."""
        return answered_by_network(number_type, country)

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """What US networks allow unregistered numbers, and elsewhere a modest rate; more is agreed on with Infobip."""
        return network_rate(number_type, country, _RATE)

    async def send(self, http: Http, message: Outgoing) -> str:
        """Infobip takes an id only once, so a text is not sent twice; one that it refused comes again with another."""
        options = self._options
        refused = self._refused.get(message.id, 0)
        own_id = f"{message.id}-{refused}" if refused else message.id
        path, content = _content(message, own_id)
        key = options.api_key.reveal() if options.api_key else ""
        response = await http.request(
            "POST",
            f"{options.api_url}{path}",
            headers={"Authorization": f"App {key}", "Content-Type": "application/json", "Accept": "application/json"},
            body=json_body(content),
        )
        accepted, code = _read_answer(response, own_id)
        if accepted:
            self._refused.pop(message.id, None)
            return accepted
        if response.status // 100 == 2:
            self._remember(message.id, refused + 1)
        raise send_error(response, message, code, FAILURES)

    def _remember(self, message_id: str, refused: int) -> None:
        self._refused[message_id] = refused
        if len(self._refused) > _MOST_REMEMBERED:
            del self._refused[next(iter(self._refused))]


def _bearer_check(tokens: list[str]) -> Check:
    expected = [f"Bearer {token}" for token in tokens]
    return lambda request: check_secret(request.headers.get("authorization", ""), expected, "Authorization")


def _hmac_check(options: Hmac) -> Check:
    keys = [SigningKey(secret.reveal().encode(), options.algorithm) for secret in options.secrets]

    def check(request: RawRequest) -> None:
        given = request.headers.get(options.header.lower(), "")
        digest = given.removeprefix(options.prefix)
        written = digest.lower() if options.encoding == "hex" else digest
        digests = [key.hex(request.body) if options.encoding == "hex" else key.sign(request.body) for key in keys]
        if not given.startswith(options.prefix) or not any(matches(written, known) for known in digests):
            raise BadSignature(f"{options.header} does not fit. Check hmac of this account.")

    return check


def _content(message: Outgoing, own_id: str) -> tuple[str, dict[str, Any]]:
    """The path and the JSON of a text."""
    sender, recipient = message.sender.removeprefix("+"), message.recipient.removeprefix("+")
    content = {"text": message.text}
    if message.channel == "whatsapp":
        return "/whatsapp/1/message/text", {"from": sender, "to": recipient, "messageId": own_id, "content": content}
    destinations = [{"to": recipient, "messageId": own_id}]
    return "/sms/3/messages", {"messages": [{"sender": sender, "destinations": destinations, "content": content}]}


def _read_answer(response: HttpResponse, own_id: str) -> tuple[str, str]:
    """The id of a text that was taken, empty for one that was not: that happens with the status 200, too. And the code.

    Of SMS the answer has a list, of WhatsApp one text.
    """
    found = response_json(response)
    listed = found.get("messages")
    first = listed[0] if isinstance(listed, list) and listed else found
    status = first.get("status") if isinstance(first, dict) else None
    if response.status // 100 != 2 or not isinstance(first, dict) or not isinstance(status, dict):
        return "", ""
    code, group = str(status.get("id", "")), str(status.get("groupName", ""))
    if code == _DUPLICATE:
        return own_id, code
    refused = FINAL.get(group) is not None or status.get("groupId") in _REFUSED
    return "" if refused else str(first.get("messageId") or own_id), code
