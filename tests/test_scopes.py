"""Opt-outs of a whole account, where a program has numbers of several accounts, and where it moves to another one."""

import uuid

import orjson
import pytest

from router.config import load
from router.routing import Routing
from router.types import ConsentState, RawRequest
from tests.asgi import call
from tests.receiving import Start, World
from tests.standins.post import PROOF

CONFIGURATION = """
[store]
url = "{url}"
prefix = "{prefix}"
data = "{data}"
shards = 2
[accounts.acme]
carrier = "{carrier}"
{account}
[accounts.beta]
carrier = "{carrier}"
[[numbers]]
number = "20202"
account = "acme"
type = "short_code"
program = ["deals", "news"]
[[numbers]]
number = "30303"
account = "beta"
type = "short_code"
opt_out_scope = "account"
program = "deals"
[programs.deals]
name = "Deals"
[[programs.deals.keywords]]
words = ["COUPONS"]
replies = {{ en = "Ten percent." }}
[programs.deals.replies.en]
opt_in = "Welcome to Deals."
opt_out = "No more Deals."
help = "Deals: call 555."
[programs.news]
name = "News"
[programs.news.replies.en]
opt_in = "Welcome to News."
opt_out = "No more News."
help = "News: call 556."
none = "News?"
"""
ACME, BETA = ("acme", "20202"), ("beta", "30303")


async def says(w: World, text: str, to: tuple[str, str]) -> str | None:
    """The reply to a text to a number of an account, None for silence."""
    account, number = to
    body = orjson.dumps([w.text(text, uuid.uuid4().hex, recipient=number)])
    reply = await call(w.app, RawRequest(account, "POST", b"", PROOF, body, 0.0))
    assert reply.status == 200
    replies = orjson.loads(reply.body)["replies"]
    return replies[0]["text"] if replies else None


async def state(w: World, program: str) -> ConsentState:
    """What holds for a program in the configuration of now."""
    person = await w.person()
    return person.state(Routing(load(w.config)).bearing_on(program), w.clock.now) if person else "none"


async def test_an_opt_out_of_one_account_holds_on_the_numbers_that_a_program_has_of_another(start: Start) -> None:
    async with start(configuration=CONFIGURATION) as w:
        assert await says(w, "START", ACME) == "Welcome to Deals."
        assert await says(w, "START NEWS", ACME) == "Welcome to News."
        assert await says(w, "STOP", BETA) == "No more Deals."

        assert await says(w, "COUPONS", ACME) is None
        assert (await state(w, "deals"), await state(w, "news")) == ("unsubscribed", "subscribed")
        assert await says(w, "hello", ACME) == "News?"
        assert await says(w, "START", ACME) == "Welcome to Deals."
        assert await state(w, "deals") == "subscribed"


async def test_who_never_said_anything_of_a_program_has_opted_out_of_it_with_its_account(start: Start) -> None:
    async with start(configuration=CONFIGURATION) as w:
        await says(w, "STOP", BETA)

        assert await says(w, "COUPONS", ACME) is None


@pytest.mark.parametrize("moved_to", ["acme", "gamma"])
async def test_an_opt_out_of_an_account_holds_also_once_the_program_has_moved_to_another(
    start: Start, moved_to: str
) -> None:
    async with start(configuration=CONFIGURATION) as w:
        await says(w, "START", BETA)
        await says(w, "STOP", BETA)
    moved = CONFIGURATION.replace('account = "beta"', f'account = "{moved_to}"')
    moved = moved.replace("[accounts.beta]", "[accounts.gamma]")
    async with start(configuration=moved) as w:
        assert await state(w, "deals") == "unsubscribed"
        assert await says(w, "COUPONS", (moved_to, "30303")) is None


@pytest.mark.parametrize(("meanwhile", "then"), [("hello", "subscribed"), ("STOP foo", "unsubscribed")])
async def test_a_program_that_comes_back_finds_people_as_they_left_it_but_for_who_ended_everything_since(
    start: Start, meanwhile: str, then: ConsentState
) -> None:
    without = CONFIGURATION.replace('program = ["deals", "news"]', 'program = "deals"')
    without = without[: without.index("[programs.news]")]
    async with start(configuration=CONFIGURATION) as w:
        await says(w, "START NEWS", ACME)
    async with start(configuration=without) as w:
        await says(w, meanwhile, ACME)
    async with start(configuration=CONFIGURATION) as w:
        assert await state(w, "news") == then
