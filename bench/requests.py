"""What Twilio and Meta post for a text, as large as the real thing, and signed: bytes for a socket."""

import hashlib
import hmac
from base64 import b64encode
from urllib.parse import quote_plus

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 (of a bench)
TWILIO_URL = "https://sms.example.com/in/twilio"

_TWILIO_HEAD = (
    "POST /in/twilio HTTP/1.1\r\nHost: sms.example.com\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\n"
    "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nX-Home-Region: us1\r\n"
    "I-Twilio-Idempotency-Token: b1a9f7c2-4b5b-4f6e-9c55-999e8e912f3d\r\nX-Twilio-Signature: {}\r\n"
    "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nContent-Length: {}\r\n\r\n{}"
)
_TWILIO_ORDER = (
    *("ToCountry", "ToState", "SmsMessageSid", "NumMedia", "ToCity", "FromZip", "SmsSid", "FromState", "SmsStatus"),
    *(
        "FromCity",
        "Body",
        "FromCountry",
        "To",
        "ToZip",
        "NumSegments",
        "MessageSid",
        "AccountSid",
        "From",
        "ApiVersion",
    ),
)
_META_HEAD = (
    "POST /in/meta HTTP/1.1\r\nHost: sms.example.com\r\nUser-Agent: facebookexternalua\r\nAccept: */*\r\n"
    "Accept-Encoding: deflate, gzip\r\nContent-Type: application/json\r\nX-Hub-Signature: sha1=00\r\n"
    "X-Hub-Signature-256: sha256={}\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n"
    "Content-Length: {}\r\n\r\n{}"
)
_META_BODY = (
    '{{"object":"whatsapp_business_account","entry":[{{"id":"102290129340398","changes":[{{"value":{{"messaging_product":'
    '"whatsapp","metadata":{{"display_phone_number":"{to}","phone_number_id":"106540352242922"}},"contacts":[{{"profile":'
    '{{"name":"Somebody"}},"wa_id":"{sender}"}}],"messages":[{{"from":"{sender}","id":"{id}","timestamp":"1767225600",'
    '"text":{{"body":"{text}"}},"type":"text"}}]}},"field":"messages"}}]}}]}}'
)


def twilio(number: int, sender: str, to: str, text: str) -> bytes:
    """The text with a number, from a phone number to one of ours, as Twilio posts it."""
    name = f"SM{number:032d}"
    fields = {
        "AccountSid": "AC00000000000000000000000000000001",
        "ApiVersion": "2010-04-01",
        "Body": text,
        "From": sender,
        "FromCity": "SAN FRANCISCO",
        "FromCountry": "US",
        "FromState": "CA",
        "FromZip": "94103",
        "MessageSid": name,
        "NumMedia": "0",
        "NumSegments": "1",
        "SmsMessageSid": name,
        "SmsSid": name,
        "SmsStatus": "received",
        "To": to,
        "ToCity": "",
        "ToCountry": "US",
        "ToState": "CA",
        "ToZip": "",
    }
    signed = TWILIO_URL + "".join([field + value for field, value in fields.items()])  # in order, as is signed
    signature = b64encode(hmac.digest(TOKEN.encode(), signed.encode(), hashlib.sha1)).decode()
    body = "&".join([f"{field}={quote_plus(fields[field])}" for field in _TWILIO_ORDER])
    return _TWILIO_HEAD.format(signature, len(body), body).encode()


def meta(number: int, sender: str, to: str, text: str) -> bytes:
    """The same as Meta posts what was said on WhatsApp; plain ASCII."""
    name = f"wamid.{number:032d}"
    body = _META_BODY.format(to=to.removeprefix("+"), sender=sender.removeprefix("+"), id=name, text=text)
    signature = hmac.digest(TOKEN.encode(), body.encode(), hashlib.sha256).hex()
    return _META_HEAD.format(signature, len(body), body).encode()


def number_of(message_id: str) -> int:
    """The number of the text with an id of either."""
    return int(message_id[-32:])
