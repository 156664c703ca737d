"""One short code for several programs: what is said of one by name, of all, and the one question which to keep."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from router.config import load
from router.routing import Routing
from router.types import Change, ConsentState
from tests.receiving import SHORT, Start, World

CONFIGURATION = """
[store]
url = "{url}"
prefix = "{prefix}"
data = "{data}"
shards = 2
[accounts.acme]
carrier = "{carrier}"
{account}
[[numbers]]
number = "20202"
account = "acme"
type = "short_code"
program = ["deals", "news", "games"]
SCOPE
[[numbers]]
number = "+14155550199"
account = "acme"
type = "long_code"
program = "orders"
[programs.deals]
name = "Weekly Deals"
called = ["DEALS", "OFFERS"]
[[programs.deals.keywords]]
words = ["JOIN"]
intent = "opt_in"
[[programs.deals.keywords]]
words = ["COUPONS"]
replies = {{ en = "Ten percent." }}
[programs.deals.replies.en]
opt_in = "Welcome to Deals."
opt_out = "No more Deals."
help = "Deals: call 555."
CHOICE
[programs.news]
name = "News"
opt_in = "double"
languages = ["en", "fr"]
[programs.news.replies.en]
opt_in = "Welcome to News."
prompt = "News? YES"
opt_out = "No more News."
help = "News: call 556."
[programs.news.replies.fr]
opt_in = "Bienvenue à News."
opt_out = "Plus de News."
[programs.games]
name = "Games"
[programs.games.replies.en]
opt_in = "Welcome to Games."
opt_out = "No more Games."
help = "Games: call 557."
[programs.orders]
name = "Orders"
purpose = "transactional"
[programs.orders.replies.en]
opt_in = "Welcome to Orders."
opt_out = "No more Orders."
help = "Orders: call 558."
"""
CHOICE = "You get no more texts. To keep one, reply KEEP DEALS, KEEP NEWS or KEEP GAMES."
ORDERS = "+14155550199"

Shared = Callable[[], AbstractAsyncContextManager[World]]


@pytest.fixture
def shared(start: Start) -> Shared:
    """An application whose number asks which programs to keep."""
    choice = f'choice = "{CHOICE}"'
    return partial(start, configuration=CONFIGURATION.replace("SCOPE", "").replace("CHOICE", choice))


def scoped(start: Start, scope: str) -> AbstractAsyncContextManager[World]:
    """An application whose number has a scope of opt-outs, and asks nothing."""
    written = CONFIGURATION.replace("SCOPE", f'opt_out_scope = "{scope}"').replace("CHOICE", "")
    return start(configuration=written)


async def says(w: World, text: str, *, to: str = SHORT) -> str | None:
    """The reply to a text, None for silence."""
    replies = await w.replies(w.text(text, recipient=to))
    return replies[0]["text"] if replies else None


async def states(w: World) -> dict[str, ConsentState]:
    """What holds for each program."""
    routing = Routing(load(w.config))
    person = await w.person()
    assert person
    found = {name: person.state(routing.bearing_on(name), w.clock.now) for name in ("deals", "news", "games", "orders")}
    return {name: state for name, state in found.items() if state != "none"}


async def test_start_alone_means_the_first_program_and_by_name_the_named_one(shared: Shared) -> None:
    async with shared() as w:
        assert await says(w, "START") == "Welcome to Deals."
        assert await says(w, "start games") == "Welcome to Games."
        assert await says(w, "START NEWS") == "News? YES"

        assert await states(w) == {"deals": "subscribed", "games": "subscribed", "news": "pending"}


async def test_yes_answers_the_question_that_was_put_last(shared: Shared) -> None:
    async with shared() as w:
        await says(w, "START")
        await says(w, "START NEWS")

        assert await says(w, "yes") == "Welcome to News."
        assert await says(w, "yes") is None
        assert await states(w) == {"deals": "subscribed", "news": "subscribed"}


@pytest.mark.parametrize("text", ["STOP DEALS", "deals stop!", "stop Weekly Deals please", "QUIT offers"])
async def test_stop_by_name_ends_the_named_program_alone(shared: Shared, text: str) -> None:
    async with shared() as w:
        await says(w, "START")
        await says(w, "START GAMES")

        assert await says(w, text) == "No more Deals."
        assert await says(w, text) is None
        assert await states(w) == {"deals": "unsubscribed", "games": "subscribed"}


async def test_stop_alone_ends_all_and_asks_once_which_to_keep_and_silence_keeps_none(shared: Shared) -> None:
    async with shared() as w:
        await says(w, "START")
        await says(w, "START GAMES")

        assert await says(w, "STOP") == CHOICE
        assert await says(w, "STOP") is None
        assert await says(w, "COUPONS") is None
        w.clock.now += 25 * 3600
        assert await says(w, "KEEP DEALS") is None
        assert await states(w) == dict.fromkeys(("deals", "games", "news"), "unsubscribed")


@pytest.mark.parametrize("answer", ["KEEP GAMES", "games", "yes games", "START GAMES"])
async def test_what_is_named_in_answer_is_kept_and_nothing_else(shared: Shared, answer: str) -> None:
    async with shared() as w:
        await says(w, "START")
        await says(w, "START GAMES")
        await says(w, "STOP")
        w.clock.now += 23 * 3600

        assert await says(w, answer) == "Welcome to Games."
        w.clock.now += 2 * 3600
        assert await states(w) == {"deals": "unsubscribed", "games": "subscribed", "news": "unsubscribed"}


async def test_a_bare_yes_or_a_program_that_was_not_subscribed_keeps_nothing(shared: Shared) -> None:
    async with shared() as w:
        await says(w, "START")
        await says(w, "START GAMES")
        await says(w, "STOP")

        assert await says(w, "YES") is None
        assert await says(w, "KEEP NEWS") is None
        w.clock.now += 25 * 3600
        assert await states(w) == dict.fromkeys(("deals", "games", "news"), "unsubscribed")


@pytest.mark.parametrize("text", ["STOP news and games", "stop News, Games", "QUIT GAMES NEWS"])
async def test_stop_with_the_names_of_several_ends_all_of_the_number(shared: Shared, text: str) -> None:
    async with shared() as w:
        await says(w, "START")
        await says(w, "START GAMES")

        assert await says(w, text) == CHOICE
        assert await says(w, "KEEP DEALS") == "Welcome to Deals."
        assert await states(w) == {"deals": "subscribed", "news": "unsubscribed", "games": "choosing"}


@pytest.mark.parametrize("text", ["STOP foo", "stop couponz"])
async def test_stop_with_another_word_counts_on_a_number_of_one_program_too(shared: Shared, text: str) -> None:
    async with shared() as w:
        await says(w, "START")
        await says(w, "START", to=ORDERS)
        await says(w, text, to=ORDERS)

        assert set((await states(w)).values()) == {"unsubscribed"}


@pytest.mark.parametrize("text", ["NEWS", "keep news"])
async def test_the_name_of_a_program_alone_is_no_yes_to_a_double_opt_in(shared: Shared, text: str) -> None:
    async with shared() as w:
        await says(w, "START NEWS")

        assert await says(w, text) is None
        assert await states(w) == {"news": "pending"}
        assert await says(w, "YES NEWS") == "Welcome to News."


async def test_who_is_subscribed_to_one_alone_is_asked_nothing(shared: Shared) -> None:
    async with shared() as w:
        await says(w, "START GAMES")

        assert await says(w, "STOP") == "No more Games."
        assert await says(w, "KEEP GAMES") is None


async def test_the_event_says_what_became_of_each_program(shared: Shared) -> None:
    async with shared() as w:
        await says(w, "START")
        await says(w, "START GAMES")
        await says(w, "STOP")
        last = (await w.entries())[-1].event

    assert last.changes == (
        Change("deals", "subscribed", "choosing"),
        Change("news", "none", "unsubscribed"),
        Change("games", "subscribed", "choosing"),
    )


@pytest.mark.parametrize("text", ["STOP foo", "quit everythingelse"])
async def test_stop_with_a_word_that_names_no_program_ends_everything_everywhere(shared: Shared, text: str) -> None:
    async with shared() as w:
        await says(w, "START")
        await says(w, "START", to=ORDERS)

        assert await says(w, text) == "No more Deals."
        assert await states(w) == dict.fromkeys(("deals", "games", "news", "orders"), "unsubscribed")
        assert await says(w, "START", to=ORDERS) == "Welcome to Orders."
        assert (await states(w))["orders"] == "subscribed"


@pytest.mark.parametrize("text", ["stop order", "stop by", "stop over there tomorrow"])
async def test_what_is_about_something_else_ends_nothing(shared: Shared, text: str) -> None:
    async with shared() as w:
        await says(w, "START")
        await says(w, text)

        assert await states(w) == {"deals": "subscribed"}


@pytest.mark.parametrize(
    ("scope", "text", "ended"),
    [
        ("program", "STOP GAMES", {"games"}),
        ("program", "STOP", {"deals", "news", "games"}),
        ("number", "STOP GAMES", {"deals", "news", "games"}),
        ("account", "STOP GAMES", {"deals", "news", "games", "orders"}),
        ("all", "STOP", {"deals", "news", "games", "orders"}),
    ],
)
async def test_an_opt_out_ends_what_its_scope_says(start: Start, scope: str, text: str, ended: set[str]) -> None:
    async with scoped(start, scope) as w:
        for said, number in [("START", SHORT), ("START GAMES", SHORT), ("START", ORDERS)]:
            await says(w, said, to=number)
        await says(w, text)

        assert {name for name, state in (await states(w)).items() if state == "unsubscribed"} == ended


async def test_help_and_chat_are_answered_by_a_program_that_the_person_is_subscribed_to(shared: Shared) -> None:
    async with shared() as w:
        assert await says(w, "HELP") == "Deals: call 555."
        await says(w, "START GAMES")

        assert await says(w, "HELP") == "Games: call 557."


async def test_the_language_of_a_keyword_is_kept_for_words_that_tell_none(shared: Shared) -> None:
    async with shared() as w:
        assert await says(w, "OUI NEWS") is None
        assert await says(w, "START NEWS") == "News? YES"
        assert await says(w, "oui") == "Bienvenue à News."
        assert await says(w, "STOP NEWS") == "Plus de News."
        person = await w.person()

    assert person
    assert person.language == "fr"
