"""WhatsApp Cloud API: JSON batches signed by the app bring texts, taps, consent and receipts; replies go by Graph API.

Source: Meta's developer pages on webhooks, business-scoped user ids, error codes and throughput.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from adapters._credentials import token_check
from adapters._http import MISCONFIGURED_PAUSE, HttpUrl, json_body
from adapters._requests import entries, error_answer, form_fields, json_object, parsed_each, required, text
from adapters._sending import response_json, send_error
from adapters._signing import SigningKey, matches
from adapters._whatsapp import FAILURES, first_of, in_entry
from router.errors import BadSignature, RouterError, SendError
from router.ports import CarrierAnswers, Http, Options, OptionsType, Parsed, Secret
from router.types import Answer, Handshake, Intent, NumberType, Outgoing, RawRequest


class WhatsAppOptions(Options):
    """The keys of a Meta app in the configuration file.

    `app_secrets` are the live secrets of the app, primary first. `verify_tokens` are what Meta's set-up call may show;
    without them it is refused. To send, `access_token` and `phone_number_ids` are needed: Meta's id of each of our
    numbers (`{"+15550783881" = "106540352242922"}`).
    """

    app_secrets: Annotated[tuple[Secret, ...], Field(min_length=1, strict=False)]
    verify_tokens: Annotated[tuple[Secret, ...], Field(strict=False)] = ()
    access_token: Secret | None = None
    phone_number_ids: Mapping[
        Annotated[str, Field(pattern=r"^\+[0-9]{7,15}$")], Annotated[str, Field(pattern=r"^[0-9]+$")]
    ] = {}
    graph_url: HttpUrl = "https://graph.facebook.com"
    graph_version: Annotated[str, Field(pattern=r"^v[0-9]+\.[0-9]+$")] = "v25.0"


class WhatsApp:
    """One Meta app: all numbers of all its business accounts."""

    Options: ClassVar[OptionsType] = WhatsAppOptions
    retries = True
    replies_inline = False
    idempotent = False

    def __init__(self, account: str, options: WhatsAppOptions, public_url: str | None) -> None:
        self.sends = options.access_token is not None and bool(options.phone_number_ids)
        self._options = options
        self._keys = [SigningKey(secret.reveal().encode(), "sha256") for secret in options.app_secrets]
        self._check_verify_token = token_check("hub.verify_token", options.verify_tokens)
        self._access_token = options.access_token.reveal() if options.access_token else ""

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless a secret of the app signed the body, or a set-up call shows a verify token."""
        if request.method == "GET":
            self._check_verify_token(request)
            if form_fields(request.query).get("hub.mode") != "subscribe":
                raise BadSignature("hub.mode is not subscribe. Call this address only from Meta's webhook settings.")
            return
        given = request.headers.get("x-hub-signature-256", "")
        if not any(matches(given, b"sha256=" + key.hex(request.body)) for key in self._keys):
            raise BadSignature("X-Hub-Signature-256 does not fit. Check app_secrets of this account.")

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """All texts, consent events and final receipts of all entries and changes; or the challenge of a set-up."""
        if request.method == "GET":
            challenge = form_fields(request.query).get("hub.challenge", "")
            required(**{"hub.challenge": challenge})
            return [Handshake(Answer(200, challenge.encode(), "text/plain"))]
        body = json_object(request.body)
        kind = text(body, "object")
        required(object=kind)
        return parsed_each(entries(body, "entry"), in_entry) if kind == "whatsapp_business_account" else []

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """An empty 200, also to what makes no sense: Meta would repeat the whole batch for days."""
        return error_answer(result, malformed=200) if isinstance(result, RouterError) else Answer(200)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """Nothing: Meta does not interpret texts."""
        return {}

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """Meta's default throughput of a number; it raises it by itself for busy ones."""
        return 80.0

    async def send(self, http: Http, message: Outgoing) -> str:
        """Free text, which Meta takes for 24 hours after the person's last. There is no idempotency key."""
        options = self._options
        our_id = options.phone_number_ids.get(message.sender)
        if our_id is None:
            reason = "The sending number has no id at Meta. Add it to phone_number_ids of this account."
            raise SendError(reason, "auth", retry_after=MISCONFIGURED_PAUSE)
        body = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            **_addressed(message.recipient),
            "type": "text",
            "text": {"body": message.text, "preview_url": False},
            "biz_opaque_callback_data": message.id,
        }
        response = await http.request(
            "POST",
            f"{options.graph_url}/{options.graph_version}/{our_id}/messages",
            headers={"Authorization": f"Bearer {self._access_token}", "Content-Type": "application/json"},
            body=json_body(body),
        )
        found = response_json(response)
        message_id = first_of(found, "messages").get("id")
        if response.status // 100 == 2 and message_id:
            return str(message_id)
        error = found.get("error")
        code = str(error.get("code", "")) if isinstance(error, dict) else ""
        raise send_error(response, message, code, FAILURES)


def _addressed(recipient: str) -> dict[str, str]:
    """A number goes without its plus; a user id has a field of its own."""
    number = recipient.removeprefix("+")
    return {"to": number} if number.isdecimal() else {"recipient": recipient}
