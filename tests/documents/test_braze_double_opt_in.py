"""Braze, double opt-in: the rows of its table, its time limit, and the older recipe that subscribes first and then
asks.
"""

import pytest

from router.types import ConsentState
from tests.receiving import CONFIGURATION, Start, World

DOUBLE = CONFIGURATION.replace('name = "Deals"', 'name = "Deals"\nopt_in = "double"').replace(
    'opt_in = "Welcome."', 'opt_in = "Welcome."\nprompt = "Reply YES."'
)
RECIPE = DOUBLE.replace('opt_in = "double"', 'opt_in = "subscribe_first"')
DAY = 86_400


async def says(w: World, text: str) -> str | None:
    """The answer to a text, None for silence."""
    replies = await w.replies(w.text(text))
    return replies[0]["text"] if replies else None


async def state(w: World) -> ConsentState:
    """What holds for the person now."""
    person = await w.person()
    return person.state(("deals",), w.clock.now) if person else "none"


async def told(w: World) -> list[tuple[ConsentState, ConsentState]]:
    """From where to where, for each text that the platform is told of."""
    return [(entry.event.decision.before, entry.event.decision.after) for entry in await w.entries()]


async def test_a_prompt_keyword_asks_and_leaves_the_person_pending(start: Start) -> None:
    async with start(configuration=DOUBLE) as w:
        assert await says(w, "START") == "Reply YES."
        assert await state(w) == "pending"


@pytest.mark.parametrize("word", ["YES", "y", "Yes please!"])
async def test_a_confirmation_keyword_within_thirty_days_subscribes_and_is_answered(start: Start, word: str) -> None:
    async with start(configuration=DOUBLE) as w:
        await says(w, "START")
        w.clock.now += 30 * DAY - 1

        assert await says(w, word) == "Welcome."
        assert await state(w) == "subscribed"


async def test_after_thirty_days_of_silence_it_takes_a_prompt_keyword_again_and_nobody_is_reminded(
    start: Start,
) -> None:
    async with start(configuration=DOUBLE) as w:
        await says(w, "START")
        w.clock.now += 30 * DAY

        assert await state(w) == "none"
        assert await says(w, "YES") is None
        assert await says(w, "START") == "Reply YES."
        assert len(await w.entries()) == 3


async def test_an_opt_out_keyword_ends_it(start: Start) -> None:
    async with start(configuration=DOUBLE) as w:
        await says(w, "START")

        assert await says(w, "STOP") == "Goodbye."
        assert await says(w, "YES") is None
        assert await state(w) == "unsubscribed"


@pytest.mark.parametrize("text", ["maybe", "HELP", "what is this?"])
async def test_anything_else_leaves_it_pending(start: Start, text: str) -> None:
    async with start(configuration=DOUBLE) as w:
        await says(w, "START")
        await says(w, text)

        assert await state(w) == "pending"
        assert await says(w, "YES") == "Welcome."


async def test_the_platform_is_told_of_the_subscription_only_once_it_is_confirmed(start: Start) -> None:
    async with start(configuration=DOUBLE) as w:
        for text in ("START", "YES"):
            await says(w, text)

        assert await told(w) == [("none", "pending"), ("pending", "subscribed")]


async def test_who_is_subscribed_already_is_not_asked_again(start: Start) -> None:
    async with start(configuration=DOUBLE) as w:
        for text in ("START", "YES"):
            await says(w, text)

        assert await says(w, "START") == "Welcome."
        assert await state(w) == "subscribed"


async def test_the_recipe_subscribes_first_and_then_asks(start: Start) -> None:
    async with start(configuration=RECIPE) as w:
        assert await says(w, "START") == "Reply YES."
        assert await state(w) == "subscribed"
        assert await says(w, "YES") == "Welcome."
        assert await says(w, "STOP") == "Goodbye."
        assert await told(w) == [
            ("none", "subscribed"),
            ("subscribed", "subscribed"),
            ("subscribed", "unsubscribed"),
        ]
