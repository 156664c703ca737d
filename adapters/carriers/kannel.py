"""Kannel's smsbox: a text comes as a GET, or as a POST with headers, and the body of the answer is sent to the person.

Source: Kannel's user guide, and the code of smsbox and urltrans where it differs.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, ClassVar
from urllib.parse import quote_plus, urlencode

from pydantic import Field, model_validator

from adapters._credentials import CallerOptions, caller_checks, check_any, require_proof, token_check
from adapters._gsm import is_gsm, part_of
from adapters._http import HttpUrl
from adapters._networks import answered_by_network
from adapters._octets import codec_named, decoded, dialled, octet_fields
from adapters._requests import content_type, error_answer, made_id, required
from adapters._sending import send_error
from router._core import NumberParseError, normalize
from router.errors import BadPayload, RouterError
from router.ports import CarrierAnswers, Http, Options, OptionsType, Parsed, Secret
from router.types import Answer, Binary, Inbound, Intent, NumberType, Outgoing, RawRequest, Receipt, SendFailure

#: The bits of a delivery report that are final, and what they mean: None is delivered.
_FINAL: Mapping[int, SendFailure | None] = {1: None, 2: "permanent", 16: "permanent"}
_FAILURES: Mapping[str, SendFailure] = {"refused": "permanent"}
_CHARSET = re.compile(r"charset\s*=\s*\"?([^\s\";]+)", re.IGNORECASE)
#: What Kannel calls the charset of 8-bit data, now and formerly.
_DATA = ("8-bit", "binary")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")
_PLAIN = "text/plain; charset=UTF-8"


class KannelParameters(Options):
    """What the parameters are called in `get-url` or `post-url`, each with the escape code that it stands for.

    `id` %I, `sender` %p or %q, `recipient` %P or %Q, `text` %b, `time` %T or %t, `coding` %c, `charset` %C, `udh` %u;
    in a `dlr-url` `report` is %d, and `report_id` our id of the text. `token` holds the secret.
    """

    token: str = "token"  # noqa: S105 (the name of a parameter)
    id: str = "id"
    sender: str = "from"
    recipient: str = "to"
    text: str = "text"
    time: str = "ts"
    coding: str = "coding"
    charset: str = "charset"
    udh: str = "udh"
    report: Annotated[tuple[str, ...], Field(strict=False)] = ("dlr", "status")
    report_id: str = "uuid"


class KannelOptions(CallerOptions):
    """The keys of a Kannel gateway in the configuration file.

    `tokens` are the live secrets in the query of our address. `region` (`NG`) is where numbers written without a
    country code belong to. `retries` is true where `http-request-retry` is set: without it, Kannel offers a text once.
    `sendsms_url`, `username` and `password` are needed to send, `smsc` names the route. Delivery reports are asked for
    where Kannel can be given an address for them: with a `public_url`, and a token or `unauthenticated`.
    """

    tokens: Annotated[tuple[Secret, ...], Field(strict=False)] = ()
    parameters: KannelParameters = KannelParameters()
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    retries: bool = False
    texts_per_second: Annotated[float, Field(gt=0)] = 10.0
    sendsms_url: HttpUrl | None = None
    username: str | None = None
    password: Secret | None = None
    smsc: str | None = None

    @model_validator(mode="after")
    def _check_proof(self) -> "KannelOptions":
        require_proof(self, self.tokens)
        return self


class Kannel:
    """One Kannel gateway."""

    Options: ClassVar[OptionsType] = KannelOptions
    replies_inline = True
    idempotent = False
    headers_read = frozenset(f"x-kannel-{name}" for name in ("coding", "from", "time", "to", "udh"))

    def __init__(self, account: str, options: KannelOptions, public_url: str | None) -> None:
        self.retries = options.retries
        self.sends = None not in (options.sendsms_url, options.username, options.password)
        self._options = options
        self._names = options.parameters
        self._checks = caller_checks(options)
        if options.tokens:
            self._checks.append(token_check(self._names.token, options.tokens))
        self._report_url = _report_url(options, public_url)

    def verify(self, request: RawRequest) -> None:
        """Raises `BadSignature` unless the request has a token of the gateway or another of its proofs."""
        check_any(request, self._checks)

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        """The one text in a verified request, even an empty one, or what became of one that was sent."""
        names, fields = self._names, octet_fields(request.query)
        said = request.body if request.method == "POST" else fields.get(names.text)
        report = next((fields[name] for name in names.report if name in fields), None)
        if not said and report is not None:
            return self._receipts(fields, decoded(report))
        if said is None:
            raise BadPayload(f"{names.text} is missing. Give it %b in get-url, or name it in parameters.")
        if content_type(request) in ("text/xml", "application/xml"):
            raise BadPayload("The body is XML. Use get-url or post-url in the place of post-xml.")
        value = partial(_value, request, fields)
        sender, recipient = value(names.sender, "from"), value(names.recipient, "to")
        required(**{names.sender: decoded(sender), names.recipient: decoded(recipient)})
        header = _header(fields.get(names.udh, b""), request.headers.get("x-kannel-udh", ""))
        charset = decoded(fields.get(names.charset, b"")) or _charset(request)
        text = _text(said, charset, decoded(value(names.coding, "coding")))
        identity = (sender, recipient, value(names.time, "time"), header, said)
        return [
            Inbound(
                decoded(fields.get(names.id, b"")).strip() or made_id(*identity),
                self._dialled(decoded(sender)),
                self._dialled(decoded(recipient)),
                text or "",
                part=part_of(header),
                binary=Binary(said.hex(), header.hex()) if text is None else None,
            )
        ]

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        """The reply is the body, which the person gets: nothing but a reply may stand in it, and no other status."""
        if isinstance(result, RouterError) and not isinstance(result, BadPayload):
            return error_answer(result)
        reply = "" if isinstance(result, RouterError) else "\n".join(message.text for message in result)
        # Heard only with accept-x-kannel-headers; without it, Kannel replaces what is not in the GSM alphabet.
        headers = () if is_gsm(reply) else (("x-kannel-coding", "2"),)
        return Answer(200, reply.encode("utf-8", "replace"), _PLAIN, headers)

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        """What the network does: Kannel knows no keywords of its own."""
        return answered_by_network(number_type, country)

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        """Kannel has no limit: the operators behind it have."""
        return self._options.texts_per_second

    async def send(self, http: Http, message: Outgoing) -> str:
        """Kannel gives no id: ours comes back in the delivery report. A text can be sent twice."""
        options = self._options
        fields = {
            "username": options.username or "",
            "password": options.password.reveal() if options.password else "",
            "from": message.sender,
            "to": message.recipient,
            "text": message.text,
            "charset": "UTF-8",
            "coding": "0" if is_gsm(message.text) else "2",
        }
        if options.smsc:
            fields["smsc"] = options.smsc
        if self._report_url:
            fields["dlr-mask"] = str(sum(_FINAL))
            fields["dlr-url"] = self._report_url + self._report_query(message)
        query = urlencode(fields, errors="replace")
        response = await http.request("GET", f"{options.sendsms_url}?{query}", headers={}, body=b"")
        if response.status // 100 == 2:
            return message.id if self._report_url else ""
        # Besides a wrong password, what Kannel cannot or may not route is forbidden too.
        refused = response.status == 403 and not response.body.startswith(b"Authorization failed")
        raise send_error(response, message, "refused" if refused else None, _FAILURES)

    def _receipts(self, fields: Mapping[str, bytes], report: str) -> list[Parsed]:
        names = self._names
        message_id = decoded(fields.get(names.report_id) or fields.get(names.id) or b"")
        bits = int(report) if report.isascii() and report.isdecimal() and len(report) < 6 else 0
        final = next((bit for bit in _FINAL if bits & bit), None)
        if final is None or not message_id:
            return []
        sender, recipient = (decoded(fields.get(name, b"")) or None for name in (names.sender, names.recipient))
        failure = _FINAL[final]
        return [Receipt(message_id, sender, recipient, failure, report if failure else None)]

    def _dialled(self, number: str) -> str:
        """A number with its country code, where it is written without and belongs to the gateway's region."""
        number = dialled(number)
        if self._options.region and number.isascii() and number.isdecimal() and len(number) > 6:
            try:
                found = normalize(number, self._options.region)
            except NumberParseError:
                return number
            return found.e164 if found.valid else number
        return number

    def _report_query(self, message: Outgoing) -> str:
        names = self._names
        fields = {names.report_id: message.id, names.sender: message.sender, names.recipient: message.recipient}
        return f"{names.report[0]}=%d&{_as_literal(urlencode(fields))}"


def _report_url(options: KannelOptions, public_url: str | None) -> str | None:
    """The beginning of the address that delivery reports are asked for at; None if Kannel could not show a proof."""
    if public_url is None or not (options.tokens or options.unauthenticated):
        return None
    token = (
        f"{quote_plus(options.parameters.token)}={quote_plus(options.tokens[0].reveal())}&" if options.tokens else ""
    )
    return _as_literal(f"{public_url}?{token}")


def _as_literal(text: str) -> str:
    # In an address given to Kannel, a percent sign begins an escape code.
    return text.replace("%", "%%")


def _value(request: RawRequest, fields: Mapping[str, bytes], name: str, header: str) -> bytes:
    """A parameter of the address, or else what a POST says in a header."""
    return fields.get(name) or request.headers.get(f"x-kannel-{header}", "").encode("latin-1", "replace")


def _charset(request: RawRequest) -> str:
    """The charset of the body of a POST; what has none there is data."""
    if request.method != "POST":
        return ""
    if content_type(request) == "application/octet-stream":
        return "binary"
    found = _CHARSET.search(request.headers.get("content-type", ""))
    return found[1] if found else ""


def _header(octets: bytes, in_hex: str) -> bytes:
    """The user data header, in octets or, as in a header of HTTP and from other builds, in hex."""
    try:
        return bytes.fromhex(in_hex or octets.decode("ascii"))
    except ValueError:
        return octets


def _text(octets: bytes, charset: str, coding: str) -> str | None:
    """What octets say; None if they are no text: data may be either."""
    codec = codec_named(charset)
    if codec or not (coding == "1" or charset.lower() in _DATA):
        return decoded(octets, codec or ("utf-16-be" if coding == "2" else "utf-8"))
    text = decoded(octets)
    return None if _CONTROL.search(text) else text
