"""Adobe Journey Optimizer, opt-out management: which words count on which kind of number, and what they do.

The steps are those of the pages on opt-out management and on webhooks. Where keyroute does otherwise, a test says so by
name: YES subscribes only who was asked, and people whom nobody has texted yet are heard too.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.config import load
from router.errors import ConfigurationError
from router.types import ConsentState
from tests.receiving import SENDER, Start, World

LONG, TOLL_FREE, BARE, FULL = "+14155550199", "+18335550199", "20202", "30303"
PROGRAM = """
[programs.{id}]
name = "{id}"
{keys}
[programs.{id}.replies.en]
opt_out = "Goodbye from {id}."
{replies}
[programs.{id}.destinations.crm]
"""
NUMBER = """
[[numbers]]
number = "{number}"
account = "acme"
type = "{kind}"
program = "{program}"
carrier_answers = []
opt_out_scope = "{scope}"
"""
ANSWERS = 'opt_in = "Welcome to {id}."\nhelp = "{id}: call 555."\nnone = "{id}: what?"\ndoubtful = "{id}: reply STOP."'
HEAD = """
[store]
url = "{url}"
prefix = "{prefix}"
data = "{data}"
shards = 2
[accounts.acme]
carrier = "{carrier}"
{account}
[destinations.crm]
platform = "webhook"
url = "https://crm.example.com/"
secrets = ["file:webhook.secret"]
"""
NO = '[[programs.alerts.keywords]]\nwords = ["NO"]\nintent = "opt_out"\n'


def configuration(scope: str = "program") -> str:
    """Numbers of three kinds; the short code BARE has nothing configured but the confirmation of an opt-out."""
    full = {name: ANSWERS.format(id=name) for name in ("alerts", "orders", "club")}
    parts = [
        HEAD,
        NUMBER.format(number=LONG, kind="long_code", program="alerts", scope=scope),
        NUMBER.format(number=TOLL_FREE, kind="toll_free", program="orders", scope=scope),
        NUMBER.format(number=BARE, kind="short_code", program="bare", scope=scope),
        NUMBER.format(number=FULL, kind="short_code", program="club", scope=scope),
        PROGRAM.format(id="alerts", keys='doubtful = "ask"', replies=full["alerts"]) + NO,
        PROGRAM.format(id="orders", keys="", replies=full["orders"]),
        PROGRAM.format(id="bare", keys="", replies=""),
        PROGRAM.format(id="club", keys="", replies=full["club"]),
    ]
    return "".join(parts)


@pytest.fixture
async def w(start: Start) -> AsyncIterator[World]:
    async with start(configuration=configuration()) as found:
        yield found


async def says(w: World, text: str, to: str, sender: str = SENDER) -> str | None:
    """The answer to a text, None for silence."""
    replies = await w.replies(w.text(text, recipient=to, sender=sender))
    return replies[0]["text"] if replies else None


async def state(w: World, program: str, sender: str = SENDER) -> ConsentState:
    """What holds for the person."""
    person = await w.person(sender)
    return person.state((program, "@acme", "@all"), w.clock.now) if person else "none"


@pytest.mark.parametrize(("number", "program"), [(LONG, "alerts"), (TOLL_FREE, "orders")])
@pytest.mark.parametrize("word", ["STOP", "QUIT", "CANCEL", "END", "UNSUBSCRIBE", "stop", "Quit"])
async def test_the_default_opt_out_words_count_on_long_codes_and_toll_free_numbers(
    w: World, number: str, program: str, word: str
) -> None:
    await says(w, "START", number)

    assert await says(w, word, number) == f"Goodbye from {program}."
    assert await state(w, program) == "unsubscribed"


@pytest.mark.parametrize("word", ["SUBSCRIBE", "UNSTOP", "START", "CONTINUE", "RESUME", "BEGIN"])
async def test_the_default_opt_in_words_bring_people_back(w: World, word: str) -> None:
    await says(w, "STOP", LONG)

    assert await says(w, word, LONG) == "Welcome to alerts."
    assert await state(w, "alerts") == "subscribed"


@pytest.mark.parametrize("word", ["HELP", "INFO"])
async def test_help_is_answered_and_changes_nothing(w: World, word: str) -> None:
    await says(w, "STOP", LONG)

    assert await says(w, word, LONG) == "alerts: call 555."
    assert await state(w, "alerts") == "unsubscribed"


async def test_no_is_an_opt_out_where_it_is_configured_and_replaces_no_other_word(w: World) -> None:
    await says(w, "START", LONG)
    assert await says(w, "no", LONG) == "Goodbye from alerts."
    await says(w, "START", LONG)
    assert await says(w, "STOP", LONG) == "Goodbye from alerts."
    await says(w, "START", TOLL_FREE)
    assert await says(w, "NO", TOLL_FREE) == "orders: what?"


async def test_on_a_short_code_an_opt_out_counts_and_the_rest_only_if_configured(w: World) -> None:
    assert await says(w, "START", BARE) is None
    assert await says(w, "HELP", BARE) is None
    assert await state(w, "bare") == "none"
    assert await says(w, "STOP", BARE) == "Goodbye from bare."
    assert await state(w, "bare") == "unsubscribed"

    assert await says(w, "START", FULL) == "Welcome to club."
    assert await says(w, "HELP", FULL) == "club: call 555."


def test_an_alphanumeric_sender_must_name_another_way_out(carriers: Path) -> None:
    path = carriers / "names.toml"
    named = NUMBER.format(number="ACME", kind="alphanumeric", program="alerts", scope="program")
    written = configuration().format(url="embedded", prefix="x", data="x", carrier="post", account="")
    path.write_text(written + named.replace("carrier_answers = []\n", ""))

    with pytest.raises(ConfigurationError) as raised:
        load(path)
    assert [problem.key for problem in raised.value.problems] == ["numbers[4].way_out"]


async def test_an_opt_out_can_hold_for_all_senders_of_the_brand(start: Start) -> None:
    async with start(configuration=configuration("account")) as w:
        await says(w, "START", LONG)
        await says(w, "START", FULL)
        await says(w, "STOP", BARE)

        assert [await state(w, program) for program in ("alerts", "orders", "bare", "club")] == ["unsubscribed"] * 4


async def test_what_is_nearly_an_opt_out_word_is_asked_about_and_opts_nobody_out(w: World) -> None:
    await says(w, "START", LONG)

    assert await says(w, "CANCIL", LONG) == "alerts: reply STOP."
    assert await state(w, "alerts") == "subscribed"
    assert await says(w, "STOP", LONG) == "Goodbye from alerts."


async def test_what_matches_nothing_gets_the_default_reply(w: World) -> None:
    assert await says(w, "what time do you open?", LONG) == "alerts: what?"


async def test_on_a_toll_free_number_the_network_keeps_a_block_of_its_own_until_a_start_is_texted(w: World) -> None:
    await says(w, "START", TOLL_FREE)
    await says(w, "STOP", TOLL_FREE)
    person = await w.person()
    assert person
    assert [block.number for block in person.blocks] == [TOLL_FREE]

    await says(w, "START", TOLL_FREE)
    person = await w.person()
    assert person
    assert person.blocks == ()


async def test_otherwise_yes_subscribes_nobody_who_was_not_asked(w: World) -> None:
    await says(w, "STOP", LONG)

    assert await says(w, "YES", LONG) is None
    assert await state(w, "alerts") == "unsubscribed"


async def test_otherwise_people_are_heard_whom_nobody_has_texted_yet(w: World) -> None:
    stranger = "+14155550777"
    await says(w, "STOP", LONG, sender=stranger)

    assert await state(w, "alerts", stranger) == "unsubscribed"
