"""Sinch's SMS API (XMS): a POST of JSON for each text, picture or binary message; replies go out as batches of one.

Facts: Sinch's pages on SMS webhooks, batches and delivery reports, and the models of sinch-sdk-python 2.3.
"""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import model_validator

from adapters._credentials import caller_checks, check_any, require_proof
from adapters._http import HttpUrl, json_body
from adapters._networks import answered_by_network, network_rate
from adapters._requests import entries, error_answer, json_object, required, table, text
from adapters._sending import response_json, send_error
from adapters.carriers.sinch import RATE, ProjectToken, SinchOptions, post_json, signature_checks
from router.errors import BadPayload, RouterError
from router.ports import CarrierAnswers, Http, OptionsType, Parsed, Secret
from router.types import Answer, Binary, Inbound, Intent, Media, NumberType, Outgoing, RawRequest, Receipt, SendFailure

#: What becomes of a text in the end, by `status`: None is delivered. `Unknown` means that no receipt has come.
_FINAL: Mapping[str, SendFailure | None] = {
    "DELIVERED": None,
    "FAILED": "permanent",
    "ABORTED": "permanent",
    "REJECTED": "permanent",
    "CANCELLED": "permanent",
    "DELETED": "permanent",
    "EXPIRED": "temporary",
}
_FAILURES: Mapping[str, SendFailure] = {
    "257": "opted_out",
    **dict.fromkeys(("403", "404", "406"), "temporary"),
    "413": "auth",
    # In the answer to a batch; the status would be taken for wrong credentials.
    **dict.fromkeys(("unknown_group", "unknown_campaign", "missing_callback_url"), "permanent"),
}


class SinchSmsOptions(SinchOptions):
    """The keys of a service plan in the configuration file, beside those of `SinchOptions`.

    `service_plan_id` is needed to send with `api_token`. With `project_id` and the access key in their place, texts go
    out by the project, whose `api_url` begins with `https://zt.`. `api_url` names the region, too.
    """

    service_plan_id: str | None = None
    api_token: Secret | None = None
    project_id: str | None = None
    api_url: HttpUrl = "https://us.sms.api.sinch.com"

    @model_validator(mode="after")
    def _has_proof(self) -> Self:
        require_proof(self, self.hmac_secrets)
        return self


class SinchSms:
    """One service plan of Sinch's SMS API."""

    Options: ClassVar[OptionsType] = SinchSmsOptions
    retries = True
    replies_inline = False
    idempotent = False

    def __init__(self, account: str, options: SinchSmsOptions, public_url: str | None) -> None:
        self._options = options
        self._checks = [*signature_checks(options), *caller_checks(options)]
        self._project = ProjectToken(options)
        by_plan = options.service_plan_id and options.api_token
        self.sends = bool(by_plan or (options.project_id and options.key_id and options.key_secret))

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless the request has one of the account's proofs."""
        check_any(request, self._checks)

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The one text in a verified request, or what became of one that was sent."""
        fields = json_object(request.body)
        kind = text(fields, "type")
        required(type=kind)
        if kind.startswith("recipient_delivery_report"):
            return _receipts(fields, [text(fields, "recipient")], fields)
        if kind.startswith("delivery_report"):
            statuses = [found for found in entries(fields, "statuses") if isinstance(found, dict)]
            return [receipt for found in statuses for receipt in _receipts(fields, _recipients(found), found)]
        return _texts(kind, fields) if kind in ("mo_text", "mo_binary", "mo_media") else []

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """Only the status counts: Sinch repeats after a 5xx, and drops what gets a 4xx."""
        return error_answer(result) if isinstance(result, RouterError) else Answer(200)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """Nobody but the network of toll-free numbers."""
        return answered_by_network(number_type, country)

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """What US networks allow unregistered numbers, and elsewhere a modest rate; more is agreed on with Sinch."""
        return network_rate(number_type, country, RATE)

    async def send(self, http: Http, message: Outgoing) -> str:
        """Sinch has no idempotency key: a text whose outcome is unknown may have been sent."""
        options = self._options
        content = {
            "from": message.sender.removeprefix("+"),
            "to": [message.recipient.removeprefix("+")],
            "body": message.text,
            "type": "mt_text",
            "delivery_report": "per_recipient_final",
            "client_reference": message.id,
        }
        owner = options.service_plan_id if options.api_token else options.project_id
        url = f"{options.api_url}/xms/v1/{owner}/batches"
        if options.api_token:
            response = await post_json(http, url, options.api_token.reveal(), json_body(content))
        else:
            response = await self._project.post(http, url, message, json_body(content))
        found = response_json(response)
        if response.status // 100 == 2 and found.get("id"):
            return str(found["id"])
        raise send_error(response, message, str(found.get("code", "")), _FAILURES)


def _texts(kind: str, fields: Mapping[str, Any]) -> list[Parsed]:
    message_id, sender, recipient = (text(fields, name) for name in ("id", "from", "to"))
    required(**{"id": message_id, "from": sender, "to": recipient})
    if kind == "mo_text":
        words = text(fields, "body")
        return [Inbound(message_id, sender, recipient, words)] if words else []
    if kind == "mo_binary":
        binary = Binary(_from_base64(text(fields, "body")), _from_hex(text(fields, "udh")))
        has_any = binary.data_hex or binary.udh_hex
        return [Inbound(message_id, sender, recipient, "", binary=binary)] if has_any else []
    body = table(fields, "body")
    media = tuple(_media(body))
    # A picture's subject is no part of its text; without either it is all that the person wrote.
    words = text(body, "message") or ("" if media else text(body, "subject"))
    found = Inbound(message_id, sender, recipient, words, channel="mms", media=media)
    return [found] if words or media else []


def _media(body: Mapping[str, Any]) -> list[Media]:
    """The files of a picture message, less those that Sinch could not keep."""
    found = [item for item in entries(body, "media") if isinstance(item, dict) and text(item, "url")]
    return [Media(url=text(item, "url"), content_type=text(item, "content_type") or None) for item in found]


def _from_base64(data: str) -> str:
    try:
        return b64decode(data, validate=True).hex()
    except ValueError:
        raise BadPayload("body of a binary message is not Base64. Send only Sinch's own webhooks here.") from None


def _from_hex(data: str) -> str:
    try:
        return bytes.fromhex(data).hex()
    except ValueError:
        raise BadPayload("udh of a binary message is not hex. Send only Sinch's own webhooks here.") from None


def _recipients(status: Mapping[str, Any]) -> list[str]:
    """The people that a report on a whole batch has in one status: of a summary it is not said who they are."""
    return [found for found in entries(status, "recipients") if isinstance(found, str)] or [""]


def _receipts(report: Mapping[str, Any], recipients: Sequence[str], found: Mapping[str, Any]) -> list[Parsed]:
    message_id, status, code = text(report, "batch_id"), text(found, "status").upper(), str(found.get("code", ""))
    if not message_id or status not in _FINAL:
        return []
    final = _FINAL[status]
    failure = final and _FAILURES.get(code, final)
    sender = text(report, "applied_originator") or None
    return [Receipt(message_id, sender, who or None, failure, (code or None) if final else None) for who in recipients]
