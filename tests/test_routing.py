"""What the configuration makes of numbers: who answers on them, and how fast they may send."""

from pathlib import Path

import pytest

from router.config import load
from router.errors import BadPayload
from router.routing import Routing
from router.types import Channel, Inbound
from tests.receiving import CONFIGURATION

UK, US, SHORT = "+447400123456", "+14155550199", "20202"
CHAT = """
[[numbers]]
number = "{number}"
account = "acme"
type = "{kind}"
program = "chat"
[programs.chat]
name = "Chat"
channel = "whatsapp"
[programs.chat.replies.en]
opt_in = "Welcome."
opt_out = "Goodbye."
help = "Call 555."
"""


def routing(folder: Path, *, number: str = US, keys: str = "", more: str = "") -> Routing:
    """With a long code and a short code."""
    path = folder / "routing.toml"
    text = CONFIGURATION.format(url="embedded", prefix="x", data="x", carrier="post", account="")
    path.write_text(text.replace(f'number = "{US}"', f'number = "{number}"\n{keys}') + more)
    return Routing(load(path))


def answered(routing: Routing, number: str, channel: Channel = "sms") -> set[str]:
    """Those of some texts that keyroute leaves to the carrier."""
    route = routing.find("acme", channel, number)
    assert route.program
    matches = {text: routing.match(route, Inbound("", "", number, text)) for text in ("STOP", "QUIT", "HELP", "START")}
    return {text for text, match in matches.items() if route.answered.answers(match, text)}


@pytest.mark.parametrize(
    ("number", "keys", "expected"),
    [
        (US, "", {"STOP"}),
        (UK, "", set()),
        (US, "carrier_answers = []", set()),
        # Of what the carrier does by default its words are known; of anything else, any keyword counts.
        (US, 'carrier_answers = ["opt_out", "help"]', {"STOP", "HELP"}),
        (UK, 'carrier_answers = ["opt_out"]', {"STOP", "QUIT"}),
        ("+99912345678", "", set()),
    ],
)
def test_the_carrier_answers_what_it_does_by_default_or_what_the_file_says(
    carriers: Path, number: str, keys: str, expected: set[str]
) -> None:
    found = routing(carriers, number=number, keys=keys)

    assert answered(found, number) == expected
    assert answered(found, SHORT) == set()


@pytest.mark.parametrize(
    ("number", "keys", "expected"), [(US, "", 3), (UK, "", 30), (US, "texts_per_second = 0.5", 0.5)]
)
def test_a_number_sends_as_fast_as_the_carrier_lets_it_or_as_the_file_says(
    carriers: Path, number: str, keys: str, expected: float
) -> None:
    found = routing(carriers, number=number, keys=keys)

    assert found.texts_per_second("acme") == {number: expected, SHORT: 30}


@pytest.mark.parametrize(("number", "kind"), [("+14155550123", "toll_free"), ("+14155550123", "long_code")])
def test_a_sender_of_whatsapp_sends_like_a_long_code_and_nobody_else_answers_there(
    carriers: Path, number: str, kind: str
) -> None:
    found = routing(carriers, more=CHAT.format(number=number, kind=kind))

    assert answered(found, number, "whatsapp") == set()
    assert found.texts_per_second("acme")[number] == 3


def test_an_account_that_is_not_configured_has_no_routes(carriers: Path) -> None:
    with pytest.raises(BadPayload, match="Configure it, then retry"):
        routing(carriers).find("gone", "sms", US)
