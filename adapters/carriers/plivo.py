"""Plivo: SMS, MMS and WhatsApp arrive as one form, signed as V3 or V2, and the answer is Plivo XML.

Facts: Plivo's pages on incoming messages, signature validation, message status and error codes; the validators of
plivo-python 4.63. V2 does not cover the form: it counts only where there is no sign of V3.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Annotated, ClassVar

from pydantic import Field

from adapters._http import HttpUrl, json_body
from adapters._networks import US_RATES, answered_by_both, answered_by_network
from adapters._requests import content_type, error_answer, form_fields, required, signed_url
from adapters._sending import basic_authorization, response_json, send_error, xml_attribute, xml_text
from adapters._signing import SigningKey, matches
from router._core import TooManyFieldsError, scan_form
from router.errors import BadSignature, RouterError, WrongContentType
from router.ports import MOST_FORM_FIELDS, CarrierAnswers, Http, Options, OptionsType, Parsed, Secret
from router.types import (
    Answer,
    Channel,
    Inbound,
    Intent,
    Media,
    NumberType,
    OptOutType,
    Outgoing,
    RawRequest,
    Receipt,
    SendFailure,
)

_CHANNELS: Mapping[str, Channel] = {"sms": "sms", "mms": "mms", "whatsapp": "whatsapp"}
_OPT_OUT_TYPES: Mapping[str, OptOutType] = {"optout": "STOP", "optin": "START", "help": "HELP"}
#: What becomes of a text in the end, by `Status`: None is delivered.
_FINAL: Mapping[str, SendFailure | None] = {
    "delivered": None,
    "read": None,
    "undelivered": "permanent",
    "failed": "permanent",
    "rejected": "permanent",
}
_FAILURES: Mapping[str, SendFailure] = {
    "200": "opted_out",
    **dict.fromkeys(("50", "70"), "invalid_number"),
    **dict.fromkeys(("20", "80", "300", "420", "900"), "temporary"),
    "910": "auth",
}
_V3, _V2 = (
    tuple(f"x-plivo-signature-{name}" for name in (f"ma-{version}", version, f"{version}-nonce"))
    for version in ("v3", "v2")
)
_MEDIA = re.compile(r"Media([0-9]{1,4})")
#: Nothing else may stand in the text: Plivo, "DND service", whose lists differ from page to page.
_ANSWERED: Mapping[Intent, CarrierAnswers] = {
    "opt_out": CarrierAnswers(frozenset({"STOP", "END", "QUIT", "CANCEL", "UNSUB", "UNSUBSCRIBE", "STOP ALL"})),
    "help": CarrierAnswers(frozenset({"HELP", "INFO"})),
}


class PlivoOptions(Options):
    """The keys of a Plivo account in the configuration file.

    `auth_tokens` are the live tokens of the account, and of the subaccount that owns the numbers, if there is one.
    `allow_v2` is false where Plivo is known to sign with V3: V2 signatures do not cover what the text says. `auth_id`
    is needed to send, with the first auth token. `receipts` asks Plivo to report what becomes of each text to the
    account's public URL, if that is configured.
    """

    auth_tokens: Annotated[tuple[Secret, ...], Field(min_length=1, strict=False)]
    allow_v2: bool = True
    auth_id: Annotated[str, Field(pattern=r"^[A-Z0-9]{20}$")] | None = None
    receipts: bool = True
    api_url: HttpUrl = "https://api.plivo.com"


class Plivo:
    """One Plivo account."""

    Options: ClassVar[OptionsType] = PlivoOptions
    retries = True
    replies_inline = True
    idempotent = False

    def __init__(self, account: str, options: PlivoOptions, public_url: str | None) -> None:
        self.sends = options.auth_id is not None
        self._options = options
        self._keys = [SigningKey(token.reveal().encode(), "sha256") for token in options.auth_tokens]
        self._public_url = public_url
        self._authorization = basic_authorization(options.auth_id or "", options.auth_tokens[0].reveal())

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless one of the account's tokens signed the URL and, with V3, the form."""
        headers, url = request.headers, signed_url(self._public_url, request)
        if any(name in headers for name in _V3):
            names, message = _V3, f"{_signed_v3(url, request)}."
        elif self._options.allow_v2:
            names, message = _V2, url
        else:
            raise BadSignature("There is no V3 signature. Set allow_v2 if Plivo signs this account's texts with V2.")
        *signatures, nonce = (headers.get(name, "") for name in names)
        given = [signature.strip() for listed in signatures for signature in listed.split(",")]
        expected = [key.sign(f"{message}{nonce}".encode("utf-8", "replace")) for key in self._keys]
        if not nonce or not any(matches(signature, known) for signature in given for known in expected):
            raise BadSignature("X-Plivo-Signature does not fit. Check auth_tokens and public_url of this account.")

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The one text in a verified request, or what became of one that was sent."""
        if request.method != "GET" and content_type(request) != "application/x-www-form-urlencoded":
            raise WrongContentType("The body is not a form. Set the message_method of the application to POST.")
        fields = form_fields(request.query if request.method == "GET" else request.body)
        text, media = fields.get("Text") or fields.get("Body") or "", tuple(_media(fields))
        if fields.get("Status") and not text and not media:
            return _receipts(fields)
        message_id, sender, recipient = (fields.get(name, "") for name in ("MessageUUID", "From", "To"))
        required(MessageUUID=message_id, From=sender, To=recipient)
        message = Inbound(
            message_id,
            sender,
            recipient,
            text=text or fields.get("ButtonText", ""),
            channel=_CHANNELS.get(fields.get("Type", "").strip().lower(), "mms" if media else "sms"),
            media=media,
            opt_out_type=_OPT_OUT_TYPES.get(fields.get("MessageIntent", "").strip().lower()),
            payload=fields.get("ButtonPayload") or None,
        )
        return [message]

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """Plivo XML with the replies, in their order."""
        if isinstance(result, RouterError):
            return error_answer(result)
        messages = "".join(_message(reply) for reply in result)
        return Answer(200, f"<Response>{messages}</Response>".encode(), "application/xml")

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """Plivo by default, on US and Canadian numbers but short codes, and the network where they are toll-free."""
        by_plivo = _ANSWERED if number_type != "short_code" and country in ("US", "CA") else {}
        return answered_by_both(by_plivo, answered_by_network(number_type, country))

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """What US networks allow unregistered numbers; more is agreed on with Plivo."""
        return US_RATES[number_type]

    async def send(self, http: Http, message: Outgoing) -> str:
        """Plivo has no idempotency key: a text whose outcome is unknown may have been sent."""
        content = {
            "src": message.sender.removeprefix("+"),
            "dst": message.recipient.removeprefix("+"),
            "text": message.text,
            "type": _type(message),
        }
        if self._options.receipts and self._public_url:
            content |= {"url": self._public_url, "method": "POST"}
        response = await http.request(
            "POST",
            f"{self._options.api_url}/v1/Account/{self._options.auth_id}/Message/",
            headers={"Authorization": self._authorization, "Content-Type": "application/json"},
            body=json_body(content),
        )
        found = response_json(response)
        ids = found.get("message_uuid")
        if response.status // 100 == 2 and isinstance(ids, list) and ids:
            return str(ids[0])
        raise send_error(response, message, str(found.get("error_code") or ""), _FAILURES)


def _signed_v3(url: str, request: RawRequest) -> str:
    """What V3 signs before the nonce: names and values decoded and sorted, those of the form without anything between.

    Plivo's libraries disagree on letters outside ASCII in a query, which is why texts should come by POST.
    """
    try:
        query = sorted(scan_form(request.query, MOST_FORM_FIELDS))
        form = [] if request.method == "GET" else sorted(scan_form(request.body, MOST_FORM_FIELDS))
    except TooManyFieldsError:
        raise BadSignature(f"The form has over {MOST_FORM_FIELDS} fields. Plivo sends some twenty.") from None
    asked = "&".join(f"{name}={value}" for name, value in query)
    return "".join(
        (url, "?" if query or form else "", asked, "." if query and form else "", *chain.from_iterable(form))
    )


def _media(fields: Mapping[str, str]) -> Iterator[Media]:
    """In the order of their numbers, which start with 0 or 1. WhatsApp tells the type of its one file."""
    numbered = sorted((int(found[1]), url) for name, url in fields.items() if (found := _MEDIA.fullmatch(name)) and url)
    kind = fields.get("MimeType") if len(numbered) == 1 else None
    return (Media(url=url, content_type=kind or None) for _, url in numbered)


def _receipts(fields: Mapping[str, str]) -> list[Parsed]:
    status, code = fields["Status"].strip().lower(), fields.get("ErrorCode") or None
    # Each part of a long text has an id of its own; the text has that of its first part.
    message_id = fields.get("ParentMessageUUID") or fields.get("MessageUUID")
    if status not in _FINAL or not message_id:
        return []
    final = _FINAL[status]
    failure = final and _FAILURES.get(code or "", final)
    return [Receipt(message_id, fields.get("From") or None, fields.get("To") or None, failure, code if final else None)]


def _message(reply: Outgoing) -> str:
    source, destination = (xml_attribute(number.removeprefix("+")) for number in (reply.sender, reply.recipient))
    return f'<Message src="{source}" dst="{destination}" type="{_type(reply)}">{xml_text(reply.text)}</Message>'


def _type(message: Outgoing) -> str:
    return "whatsapp" if message.channel == "whatsapp" else "sms"
