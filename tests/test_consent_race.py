"""Hundreds of tasks text for the same few people through several processes: the result is that of some order.

Which order, the events tell: those of a person come to a receiver as they were accepted. Replayed through the model
they give every answer and every final state.
"""

import asyncio
import gzip
import html
import json
import random
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from router.cli.store import opened
from router.config import load
from router.routing import Routing
from router.store import People
from tests.consent_model import Model
from tests.consent_terms import Number, Program, Said
from tests.running import KEYROUTE, Keyroute, Twilio, write_configuration
from tests.standins.receiver import Receiver

TASKS, TEXTS_EACH, INGRESSES = 200, 5, 3
PEOPLE = [f"+1415555{i:04d}" for i in range(4)]
DEALS, SHARED = "20202", "30303"
CLUB = {
    "opt_in": {"en": "Welcome to Club."},
    "prompt": {"en": "Club: reply YES."},
    "opt_out": {"en": "No more Club."},
    "help": {"en": "Club: call 557."},
}
SPORT = {
    "opt_in": {"en": "Welcome to Sport."},
    "prompt": {"en": "Sport: reply YES."},
    "opt_out": {"en": "No more Sport."},
    "help": {"en": "Sport: call 558."},
}
DEAL = {
    "opt_in": {"en": "Welcome to Deals.", "fr": "Bienvenue."},
    "prompt": {"en": "Reply YES to get Deals.", "fr": "Répondez OUI."},
    "opt_out": {"en": "You get no more Deals.", "fr": "Vous êtes désabonné."},
    "help": {"en": "Deals: call 555.", "fr": "Aide : appelez le 555."},
    "none": {"en": "We did not understand."},
}
CHOICE = "Which to keep: KEEP CLUB or KEEP SPORT?"
NUMBERS = {
    DEALS: Number(DEALS, "twilio", ("deals",), ("en", "fr")),
    SHARED: Number(SHARED, "twilio", ("club", "sport"), choice={"en": CHOICE}),
}
PROGRAMS = {
    "deals": Program("double", DEAL),
    "club": Program("double", CLUB),
    "sport": Program("single", SPORT),
    "alerts": Program("single", {}),
}
SAYINGS = {
    (DEALS, "STOP"): Said("opt_out"),
    (DEALS, "START"): Said("opt_in"),
    (DEALS, "YES"): Said("confirm", language="en"),
    (DEALS, "oui"): Said("confirm", language="fr"),
    (DEALS, "HELP"): Said("help", language="en"),
    (DEALS, "what"): Said("none"),
    (SHARED, "STOP"): Said("opt_out"),
    (SHARED, "STOP club"): Said("opt_out", "club"),
    (SHARED, "STOP pizza"): Said("opt_out", everything=True),
    (SHARED, "START"): Said("opt_in"),
    (SHARED, "START sport"): Said("opt_in", "sport"),
    (SHARED, "YES"): Said("confirm", language="en"),
    (SHARED, "KEEP sport"): Said("confirm", "sport", keeps=True),
    (SHARED, "HELP"): Said("help", language="en"),
}


def _shared_number() -> str:
    def program(name: str, mode: str, texts: dict[str, dict[str, str]]) -> str:
        replies = "\n".join(f'{kind} = "{text["en"]}"' for kind, text in texts.items())
        keys = f'name = "{name}"\nopt_in = "{mode}"\n[programs.{name}.replies.en]\nchoice = "{CHOICE}"\n'
        return f"[programs.{name}]\n{keys}{replies}\n[programs.{name}.destinations.crm]\n"

    number = f'[[numbers]]\nnumber = "{SHARED}"\naccount = "twilio"\ntype = "short_code"\nprogram = ["club", "sport"]\n'
    return number + program("club", "double", CLUB) + program("sport", "single", SPORT)


@dataclass(frozen=True)
class Text:
    """A text that was accepted, and what it was answered."""

    number: str
    text: str
    answer: str | None


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as found:
        yield found


async def _warm(ingress: Keyroute, session: aiohttp.ClientSession) -> None:
    """Opens as many connections as will be used: a cold one would put the texts in line."""

    async def ask() -> None:
        async with session.get(f"{ingress.origin}/healthz") as response:
            await response.read()

    await asyncio.gather(*(ask() for _ in range(TASKS // INGRESSES + 1)))


async def _texting(chance: random.Random, number: int, twilio: Twilio, go: asyncio.Event) -> dict[str, Text]:
    """One task: texts for this person and that, one text after the other; what each was answered."""
    texts = [(chance.choice(PEOPLE), *chance.choice(list(SAYINGS))) for _ in range(TEXTS_EACH)]
    answers = {}
    await go.wait()
    for count, (person, to, text) in enumerate(texts):
        message_id = f"SM{number:04d}{count:02d}"
        status, body = await twilio.text(message_id, text, sender=person, to=to)
        assert status == 200, body
        given = re.search(r"<Message[^>]*>(.*?)</Message>", body.decode())
        answers[message_id] = Text(to, text, html.unescape(given[1]) if given else None)
    return answers


async def _all_at_once(ingresses: list[Keyroute], chance: random.Random) -> dict[str, Text]:
    """Every task texts at the same time, through this process and that; what was answered, by message id."""
    answers: dict[str, Text] = {}
    go = asyncio.Event()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(_warm(ingress, session) for ingress in ingresses))
        twilios = [Twilio(ingress.origin, session) for ingress in ingresses]
        tasks = [asyncio.create_task(_texting(chance, i, twilios[i % INGRESSES], go)) for i in range(TASKS)]
        await asyncio.sleep(0)  # every task stands at the line
        go.set()
        for answered in await asyncio.gather(*tasks):
            answers |= answered
    return answers


async def test_two_hundred_at_once_end_as_some_order_of_acceptance_would(
    tmp_path: Path,
    embedded_url: str,
    prefix: str,
    receiver: Receiver,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> None:
    seed = pytestconfig.getoption("--seed") or random.randrange(2**32)
    record_property("seed", seed)
    store = f'url = "{embedded_url}"\nprefix = "{prefix}"'
    config = write_configuration(tmp_path, crm=receiver.url, store=store, extra=_shared_number())
    async with AsyncExitStack() as running:
        roles = [*["ingress"] * INGRESSES, "worker"]
        servers = [await running.enter_async_context(Keyroute(config, "--role", role)) for role in roles]
        answers = await _all_at_once(servers[:INGRESSES], random.Random(seed))
        await receiver.until(lambda: len(set(receiver.ids)) >= len(answers), 60.0)
    model = Model(PROGRAMS, list(NUMBERS.values()), 1_000_000)
    _replay(model, receiver, answers)
    await _check_states(model, config, len(answers))
    _check_ledger(model, receiver, config)


def _check_ledger(model: Model, receiver: Receiver, config: Path) -> None:
    """The ledger has what the model has on record, in the order of acceptance; no byte of it can be changed unseen."""
    order = list(dict.fromkeys(event["data"]["message_id"] for event in receiver.events))
    for name in PEOPLE:
        seen = model.people[name].seen
        on_record = [message for message in order if message in seen and seen[message][1].on_record]
        rows = [json.loads(line) for line in _keyroute(config, "ledger", name, "--json").splitlines()]
        assert list(dict.fromkeys(row["private"]["message_id"] for row in rows)) == on_record
    _keyroute(config, "ledger", "--seal")
    assert _keyroute(config, "ledger", "--verify").startswith("good: ")
    file = sorted((config.parent / "data" / "ledger").rglob("*.gz"))[0]
    written = bytearray(gzip.decompress(file.read_bytes()))
    written[len(written) // 2] ^= 1
    file.write_bytes(gzip.compress(written))
    assert "fault" in _keyroute(config, "ledger", "--verify", code=1)


def _keyroute(config: Path, *arguments: str, code: int = 0) -> str:
    """What a command says."""
    command = [str(KEYROUTE), *arguments, "--config", str(config)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == code, ran.stderr
    return ran.stdout + ran.stderr


def _replay(model: Model, receiver: Receiver, answers: dict[str, Text]) -> None:
    """Gives the model every text in the order of acceptance, and compares what was decided and answered."""
    first = dict(zip(reversed(receiver.ids), reversed(receiver.events), strict=True))
    accepted = [first[event_id]["data"] for event_id in dict.fromkeys(receiver.ids)]
    assert sorted(data["message_id"] for data in accepted) == sorted(answers)
    for now, data in enumerate(accepted, 1):
        text = answers[data["message_id"]]
        said = SAYINGS[text.number, text.text]
        outcome = model.text(data["from"], NUMBERS[text.number], said, data["message_id"], float(now))
        found = data["program"], data["before"], data["after"], text.answer
        assert found == (outcome.program, outcome.before, outcome.after, outcome.reply), (now, text)


async def _check_states(model: Model, config: Path, now: float) -> None:
    settings = load(config)
    routing = Routing(settings)
    async with opened(settings) as store:
        for name in PEOPLE:
            person = await People(store).get(name)
            assert person
            # No question lapses within the minutes that the test takes.
            states = {program: person.state(routing.bearing_on(program), 0.0) for program in PROGRAMS}
            assert states == {program: model.state(name, program, now) for program in PROGRAMS}
