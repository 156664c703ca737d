"""Histories in which the product and the model once differed, told one by one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.types import ConsentState
from tests.consent_world import World
from tests.consenting import NUMBERS, write_configuration
from tests.watch.sitecustomize import Watch

SOMEBODY, SOMEBODY_ELSE = "+14155550151", "+14155550152"


class Told(World):
    """A world in which texts are a line each."""

    texts = 0

    async def text(self, name: str, text: str, who: str = SOMEBODY, **more: Any) -> list[str]:
        """A text to one of the numbers; what the person gets for it."""
        self.texts, self.now = self.texts + 1, self.now + 1
        number = NUMBERS[name]
        said = {"message_id": f"m{self.texts}", "sender": who, "recipient": number.number, "text": text} | more
        inline = await self.post(self.request(number.account, {"text": said}))
        _, sent = await self.happened()
        return inline + sent

    async def state(self, program: str, who: str = SOMEBODY) -> ConsentState:
        person = await self.person(who)
        return person.state(self.routing.bearing_on(program), self.now)


@pytest.fixture
async def world(carriers: Path, embedded_url: str, prefix: str, watch: Watch) -> AsyncIterator[Told]:
    config = write_configuration(carriers, embedded_url, "histories")
    found = Told(config, prefix)
    watch.look_into(embedded_url, prefix)
    await found.open()
    yield found
    await found.close()


@pytest.mark.parametrize("texts", [("STOP", "Stop please!!"), ("Stop please!!", "STOP")])
async def test_the_carrier_answers_the_bare_keyword_and_nothing_else_whoever_texted_before(
    world: Told, texts: tuple[str, str]
) -> None:
    people = dict(zip(texts, (SOMEBODY, SOMEBODY_ELSE), strict=True))
    replies = {text: await world.text("news", text, who) for text, who in people.items()}

    assert replies == {"STOP": [], "Stop please!!": ["news opt_out en"]}


@pytest.mark.parametrize("texts", [("STOP", "Stop please!!"), ("Stop please!!", "STOP")])
async def test_the_network_blocks_who_texts_the_bare_keyword_and_nobody_else(
    world: Told, texts: tuple[str, str]
) -> None:
    people = dict(zip(texts, (SOMEBODY, SOMEBODY_ELSE), strict=True))
    for text, who in people.items():
        await world.text("care", text, who)
    blocks = {text: len((await world.person(who)).blocks) for text, who in people.items()}

    assert blocks == {"STOP": 1, "Stop please!!": 0}


async def test_an_opt_out_of_one_program_ends_all_of_a_number_that_says_so(world: Told) -> None:
    await world.text("colours", "START red")
    await world.text("colours", "START blue")
    await world.text("colours", "YES")
    await world.text("colours", "STOP blue")

    assert [await world.state(program) for program in ("red", "blue")] == ["unsubscribed", "unsubscribed"]


async def test_an_opt_out_of_an_account_holds_for_its_programs_on_numbers_of_other_accounts(world: Told) -> None:
    await world.text("news", "START")
    await world.text("shop", "STOP")
    replies = [await world.text(name, "see you at the game") for name in ("news", "news2")]

    assert replies == [[], []]
    assert await world.state("news") == "unsubscribed"


async def test_who_was_not_asked_which_programs_to_keep_has_nothing_to_choose(world: Told) -> None:
    for text in ("START alerts", "START sport"):
        await world.text("shared", text)
    await world.text("shared", "STOP", opt_out_type="STOP")

    assert await world.text("shared", "KEEP sport") == []
    assert await world.state("sport") == "unsubscribed"


async def test_a_yes_by_name_is_welcomed_where_who_is_subscribed_is_asked(world: Told) -> None:
    assert await world.text("shared", "START sport") == ["sport prompt en"]
    assert await world.text("shared", "YES sport") == ["sport opt_in en"]
