"""Every form of Braze through a real server: people who are new or known, who join, ask and leave."""

import itertools
from pathlib import Path

import aiohttp
import pytest

from tests.running import ALERTS, BRAZE_KEY, Keyroute, Twilio, write_configuration
from tests.standins.braze import Braze

PEOPLE = [f"+141555501{n:02}" for n in range(8)]
TEXTS = ("hello", "START", "what is new", "STOP", "START", "thanks", "STOP")


@pytest.mark.parametrize("objects_in_all", [None, 5])
@pytest.mark.parametrize("create", ["alias", "with_event"])
@pytest.mark.parametrize("consent", ["attributes", "status_set"])
async def test_nobody_is_lost_and_the_last_word_on_consent_holds(
    tmp_path: Path, create: str, consent: str, objects_in_all: int | None
) -> None:
    workspace = Braze(delay=0.02, latency=0.005)
    workspace.api_key = BRAZE_KEY
    options = f'create = "{create}"\nconsent = "{consent}"\n'
    if objects_in_all:
        options += f"objects_in_all = {objects_in_all}\n"
    async with workspace, aiohttp.ClientSession() as session:
        config = write_configuration(tmp_path, braze=workspace.url)
        key = 'api_key = "file:braze.secret"\n'
        config.write_text(config.read_text().replace(key, key + options))
        async with Keyroute(config) as server:
            twilio = Twilio(server.origin, session)
            for n, (said, person) in enumerate(itertools.product(TEXTS, PEOPLE)):
                status, _ = await twilio.text(f"SM{n}", said, sender=person, to=ALERTS)
                assert status == 200
            await workspace.wait_for(3 * len(PEOPLE))
            await workspace.until(lambda: {workspace.state(one, "group-alerts") for one in PEOPLE} == {"unsubscribed"})

    assert workspace.dropped == []
    for person in PEOPLE:
        profile = workspace.profiles["phone", person]
        assert profile.phone == person
        assert [one["properties"]["message_body"] for one in profile.events] == ["hello", "what is new", "thanks"]
    assert ("/users/alias/new" in workspace.calls) == (create == "alias")
