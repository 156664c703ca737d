"""Carriers that say in plain JSON what is in a request, for tests of what comes after: `post`, and others like it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import orjson

from router.errors import BadPayload, BadSignature, RequestError, RouterError
from router.ports import CarrierAnswers, Http, Options, OptionsType, Parsed
from router.records import read_text
from router.types import Answer, Handshake, Intent, NumberType, Outgoing, RawRequest, Receipt

#: The source of a package that has these carriers, and its entry points.
PACKAGE = "from tests.standins.post import Courier, Messenger, Outrider, Post, Relay\n"
ENTRY_POINTS = {
    "router.carriers": {
        "post": "Post",
        "messenger": "Messenger",
        "courier": "Courier",
        "relay": "Relay",
        "outrider": "Outrider",
    }
}
PROOF = {"x-proof": "true"}
KEY_URL = "https://keys.example.com/key"
#: What stands for STOP at these carriers is one word.
_ANSWERED: Mapping[Intent, CarrierAnswers] = {"opt_out": CarrierAnswers(frozenset({"STOP"}))}


class PostOptions(Options):
    """Whether the carrier comes again after a 503."""

    retries: bool = False


class Post:
    """Answers with the replies as JSON. Its long codes in the US answer STOP themselves."""

    Options: ClassVar[OptionsType] = PostOptions
    replies_inline = True
    idempotent = False
    sends = False

    def __init__(self, account: str, options: PostOptions, public_url: str | None) -> None:
        self.retries = options.retries
        self._public_url = public_url

    def verify(self, request: RawRequest) -> None:
        if request.headers.get("x-proof") != "true":
            raise BadSignature("x-proof is not true. Send true.")

    def parse(self, request: RawRequest) -> Sequence[Parsed]:
        try:
            entries = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            raise BadPayload("The body is not JSON. Send JSON.") from None
        return [_READ[kind](said) for entry in entries for kind, said in entry.items()]

    def answer(self, result: Sequence[Outgoing] | RouterError) -> Answer:
        if isinstance(result, RequestError):
            return Answer(result.status, str(result).encode(), "text/plain")
        if isinstance(result, RouterError):
            return Answer(503)
        return Answer(200, orjson.dumps({"replies": result, "url": self._public_url}), "application/json")

    def answers_itself(self, number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
        return _ANSWERED if (number_type, country) == ("long_code", "US") else {}

    def texts_per_second(self, number_type: NumberType, country: str | None) -> float:
        return 3.0 if number_type == "long_code" and country == "US" else 30.0

    async def send(self, http: Http, message: Outgoing) -> str:
        raise AssertionError("this carrier gives its replies in the answer")


class Messenger(Post):
    """The same, but a reply has to be sent to it."""

    replies_inline = False


class Courier(Post):
    """The same, but its requests name a key, and are good if that has the word `good`."""

    def __init__(self, account: str, options: PostOptions, public_url: str | None) -> None:
        super().__init__(account, options, public_url)
        self._key = b""

    async def fetch_keys(self, http: Http, request: RawRequest) -> None:
        if request.headers.get("x-key") != KEY_URL:
            raise BadSignature("x-key is not ours. Send ours.")
        response = await http.request("GET", KEY_URL, headers={}, body=b"")
        self._key = response.body

    def verify(self, request: RawRequest) -> None:
        if self._key != b"good":
            raise BadSignature("The key is not good. Use a good one.")


class Relay(Post):
    """The same, but what is no answer can be sent to it too: `sent` is what all of its kind were sent, in order."""

    sends = True
    sent: ClassVar[list[Outgoing]] = []

    async def send(self, http: Http, message: Outgoing) -> str:
        self.sent.append(message)
        return message.id


class Outrider(Relay):
    """The same, but all replies have to be sent to it."""

    replies_inline = False


def _handshake(said: dict[str, Any]) -> Handshake:
    return Handshake(Answer(200, b"it is us", "text/plain"), said.get("visit"))


_READ: dict[str, Callable[[Any], Parsed]] = {
    "text": lambda said: read_text({"message": {"media": (), "text": ""} | said}),
    "receipt": lambda said: Receipt(**said),
    "handshake": _handshake,
    "bad": BadPayload,
}
