"""Jasmin: each text comes as a form whose content is octets in an SMPP data coding; ACK/Jasmin alone acknowledges it.

Source: Jasmin's HTTP API and the code of its throwers and of its send endpoint.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote_plus, urlencode

from pydantic import Field, model_validator

from adapters._credentials import CallerOptions, caller_checks, check_any, require_proof, token_check
from adapters._gsm import codecs_of, is_gsm
from adapters._http import HttpUrl
from adapters._networks import answered_by_network
from adapters._octets import decoded, dialled, octet_fields
from adapters._requests import error_answer, required
from adapters._sending import send_error
from router.errors import BadPayload, RouterError
from router.ports import CarrierAnswers, Http, OptionsType, Parsed, Secret
from router.types import Answer, Inbound, Intent, NumberType, Outgoing, RawRequest, Receipt, SendFailure

Alphabet = Literal["gsm", "latin-1", "ascii"]

#: What a data coding of 0 stands for. Octets that are no septets show that a connector does not keep to the alphabet.
_ALPHABETS: Mapping[Alphabet, tuple[str, ...]] = {
    "gsm": ("gsm", "utf-8"),
    "latin-1": ("iso8859-1",),
    "ascii": ("ascii", "utf-8"),
}
#: What becomes of a text in the end: None is delivered. UNKNOWN says nothing, and ESME_ROK and ACCEPTD are on the way.
_FINAL: Mapping[str, SendFailure | None] = {
    "DELIVRD": None,
    **dict.fromkeys(("UNDELIV", "REJECTD", "DELETED"), "permanent"),
    **dict.fromkeys(("EXPIRED", "ESME_RSYSERR", "ESME_RX_T_APPN"), "temporary"),
    **dict.fromkeys(("ESME_RTHROTTLED", "ESME_RMSGQFUL"), "throttled"),
    **dict.fromkeys(("ESME_RINVDSTADR", "ESME_RINVDSTTON", "ESME_RINVDSTNPI"), "invalid_number"),
}
_REPORTS = ("message_status", "level", "dlvrd", "err")
_FAILURES: Mapping[str, SendFailure] = {
    "User throughput exceeded": "throttled",
    "Failover route has no bound connectors": "temporary",
    "Authorization failed": "auth",
}
_SAID = re.compile(rb'(Success|Error) "([^"]*)"')
_ACKNOWLEDGED = Answer(200, b"ACK/Jasmin", "text/plain")


class JasminOptions(CallerOptions):
    """The keys of a Jasmin gateway in the configuration file.

    `tokens` are the live secrets in the query of `baseurl`, there called `token_parameter`. `alphabet` is what data
    coding 0 stands for, and `alphabets` says so for single connectors by their id (`origin-connector`). `retries` is
    false if Jasmin's own retries, three in two minutes, are too short. `send_url` (`http://…:1401/send`), `username`
    and `password` are needed to send. Delivery reports are asked for where Jasmin can be given an address for them:
    with a `public_url`, and a token or `unauthenticated`.
    """

    tokens: Annotated[tuple[Secret, ...], Field(strict=False)] = ()
    token_parameter: Annotated[str, Field(min_length=1)] = "token"  # noqa: S105 (the name of a parameter)
    alphabet: Alphabet = "gsm"
    alphabets: Mapping[str, Alphabet] = {}
    retries: bool = True
    texts_per_second: Annotated[float, Field(gt=0)] = 10.0
    send_url: HttpUrl | None = None
    username: str | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _check_proof(self) -> "JasminOptions":
        require_proof(self, self.tokens)
        return self


class Jasmin:
    """One Jasmin gateway."""

    Options: ClassVar[OptionsType] = JasminOptions
    replies_inline = False
    idempotent = False

    def __init__(self, account: str, options: JasminOptions, public_url: str | None) -> None:
        self.retries = options.retries
        self.sends = None not in (options.send_url, options.username, options.password)
        self._options = options
        self._checks = caller_checks(options)
        if options.tokens:
            self._checks.append(token_check(options.token_parameter, options.tokens))
        self._report_url = _report_url(options, public_url)

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless the request has a token of the gateway or another of its proofs."""
        check_any(request, self._checks)

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The one text in a verified request, even an empty one, or what became of one that was sent."""
        form = octet_fields(request.query if request.method == "GET" else request.body)
        octets = {name.lower(): value for name, value in form.items()}
        fields = {name: decoded(value) for name, value in octets.items()}
        said = _content(octets)
        if said is None and any(name in fields for name in _REPORTS):
            return _receipts(fields)
        message_id, sender, recipient = (fields.get(name, "") for name in ("id", "from", "to"))
        required(id=message_id, to=recipient, **{"from": sender})
        if said is None:
            raise BadPayload("content and binary are missing. Send only Jasmin's texts and receipts here.")
        coding = fields.get("coding", "").strip()
        alphabet = self._options.alphabets.get(fields.get("origin-connector", ""), self._options.alphabet)
        codecs = codecs_of(int(coding) if re.fullmatch("[0-9]{1,3}", coding) else 0, _ALPHABETS[alphabet])
        return [Inbound(message_id, dialled(sender), dialled(recipient), decoded(said, *codecs))] if codecs else []

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """What Jasmin takes for an acknowledgement, also of what makes no sense: anything else is offered again."""
        if isinstance(result, RouterError) and not isinstance(result, BadPayload):
            return error_answer(result)
        return _ACKNOWLEDGED

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """What the network does: Jasmin knows no keywords."""
        return answered_by_network(number_type, country)

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """Jasmin's limit is that of its user and of the operators behind it."""
        return self._options.texts_per_second

    async def send(self, http: Http, message: Outgoing) -> str:
        """Jasmin has no idempotency key: a text whose outcome is unknown may have been sent."""
        options = self._options
        fields = {
            "username": options.username or "",
            "password": options.password.reveal() if options.password else "",
            "from": message.sender,
            "to": message.recipient,
            **_encoded(message.text),
        }
        if self._report_url:
            fields |= {"dlr": "yes", "dlr-url": self._report_url, "dlr-level": "3", "dlr-method": "POST"}
        response = await http.request(
            "POST",
            options.send_url or "",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(fields, errors="replace").encode(),
        )
        said = _SAID.search(response.body)
        outcome, what = (said[1], decoded(said[2])) if said else (b"", "")
        if response.status // 100 == 2 and outcome == b"Success" and what:
            return what
        code = next((known for known in _FAILURES if what.startswith(known)), None)
        raise send_error(response, message, code, _FAILURES)


def _report_url(options: JasminOptions, public_url: str | None) -> str | None:
    """The address that delivery reports are asked for at; None if Jasmin could not show a proof."""
    if public_url is None or not (options.tokens or options.unauthenticated):
        return None
    token = f"?{quote_plus(options.token_parameter)}={quote_plus(options.tokens[0].reveal())}" if options.tokens else ""
    return public_url + token


def _content(octets: Mapping[str, bytes]) -> bytes | None:
    """The octets of a text: those in hex, which no form reader on the way can have spoilt, if they are whole."""
    try:
        return bytes.fromhex(octets.get("binary", b"").decode()) or octets.get("content", octets.get("binary"))
    except ValueError:
        return octets.get("content")


def _receipts(fields: Mapping[str, str]) -> list[Parsed]:
    """What became of a text; nothing while it is under way."""
    message_id, status = fields.get("id", ""), fields.get("message_status", "")
    # Whatever the network answers to a text at once, but that it is well, is the end of it.
    refused = status.startswith("ESME_R") and status != "ESME_ROK"
    if not message_id or not (refused or status in _FINAL):
        return []
    failure = _FINAL.get(status, "permanent")
    return [Receipt(message_id, None, None, failure, status if failure else None)]


def _encoded(text: str) -> dict[str, str]:
    """A text as Jasmin takes it: it turns UTF-8 into GSM 03.38, and anything else must come in octets."""
    if is_gsm(text):
        return {"coding": "0", "content": text}
    return {"coding": "8", "hex-content": text.encode("utf-16-be", "replace").hex()}
