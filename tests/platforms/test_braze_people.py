"""How people become known in Braze, and how it is found out that they are not: created, looked up, checked."""

import json

import pytest
from structlog.testing import capture_logs

from router.delivery.http import HttpClient
from router.errors import DeliveryError
from router.ports import ChecksAliases
from tests.platforms.at_braze import braze
from tests.platforms.events import SENDER, event
from tests.standins.braze import Braze as Workspace
from tests.standins.recorder import Recorder
from tests.standins.scripted import Scripted

URL = "https://rest.iad-01.braze.com"
OTHER = "+14155550999"


async def test_one_call_creates_the_person_with_number_state_and_event(workspace: Workspace, http: HttpClient) -> None:
    platform = braze(workspace.url, create="with_event")
    said = event(intent="opt_in", before="none", after="subscribed", new_alias=True)
    await platform.deliver(http, [said, event("e2", sender="+14155550999", new_alias=True)])
    await workspace.until(lambda: len(workspace.applied) >= 3)

    assert (platform.needs_alias, platform.makes_known) == (False, True)
    assert [path for path, _ in workspace.requests] == ["/users/track"]
    assert workspace.state(SENDER, "group-deals") == "subscribed"
    assert [profile.phone for profile in workspace.profiles.values()] == [SENDER, "+14155550999"]
    assert workspace.dropped == []


async def test_the_one_call_has_the_documented_form(workspace: Workspace, http: HttpClient) -> None:
    joined = event(intent="custom", before="none", after="subscribed", new_alias=True)

    await braze(workspace.url, create="with_event").deliver(http, [joined])

    ((path, payload),) = workspace.requests
    alias = {"alias_label": "phone", "alias_name": SENDER}
    state = {"subscription_group_id": "group-deals", "subscription_state": "subscribed"}
    assert path == "/users/track"
    assert payload["attributes"] == [
        {"user_alias": alias, "_update_existing_only": False, "subscription_groups": [state], "phone": SENDER}
    ]
    assert [(one["user_alias"], one["_update_existing_only"]) for one in payload["events"]] == [(alias, False)]


async def test_a_person_without_a_number_is_created_by_the_event_alone(workspace: Workspace, http: HttpClient) -> None:
    platform = braze(workspace.url, create="with_event")

    await platform.deliver(http, [event(sender="US.1349", new_alias=True)])
    await workspace.wait_for(1)

    assert workspace.profiles["phone", "US.1349"].phone is None
    assert [kind for kind, _ in workspace.applied] == ["event"]


async def test_of_aliases_only_the_one_that_braze_does_not_take_is_refused(
    workspace: Workspace, http: HttpClient
) -> None:
    """Whoever asks for several halves them then, until that one stands alone."""
    workspace.blocked.add(OTHER)
    platform = braze(workspace.url)

    for asked in ([SENDER, OTHER], [OTHER]):
        with pytest.raises(DeliveryError, match="does not take") as caught:
            await platform.ensure_aliases(http, asked)
        assert not caught.value.retryable
        assert OTHER[1:] not in caught.value.reason
    await platform.ensure_aliases(http, [SENDER])
    await workspace.until(lambda: len(workspace.applied) == 2)

    assert list(workspace.profiles) == [("phone", SENDER)]


@pytest.mark.parametrize(
    ("errors", "noticed"),
    [
        ("null", []),
        ('"all is odd"', ["all is odd"]),
        (f'["{SENDER} is odd", 7]', ["… is odd", "7"]),
        ('[{"type":"far","input_array":"user_aliases","index":1}]', ["far"]),
        ('[{"type":"elsewhere","input_array":"events","index":0}]', ["elsewhere"]),
    ],
)
async def test_what_is_remarked_on_aliases_without_naming_one_is_logged(errors: str, noticed: list[str]) -> None:
    answer = f'{{"message":"success","aliases_processed":1,"errors":{errors}}}'.encode()

    with capture_logs() as logs:
        await braze(URL).ensure_aliases(Recorder(201, answer), [SENDER])

    assert [entry["notice"] for entry in logs] == noticed


async def test_who_is_looked_up_and_found_is_not_created(workspace: Workspace, http: HttpClient) -> None:
    workspace.add_user(SENDER, phone=SENDER)
    platform = braze(workspace.url, look_up=True)
    await platform.ensure_aliases(http, [SENDER])
    await platform.ensure_aliases(http, [SENDER, "+14155550999"])

    created = [payload for path, payload in workspace.requests if path == "/users/alias/new"]
    assert created == [{"user_aliases": [{"alias_label": "phone", "alias_name": "+14155550999"}]}]


async def test_whoever_has_vanished_or_has_no_number_is_named(workspace: Workspace, http: HttpClient) -> None:
    workspace.add_user("+14155550001", phone="+14155550001")
    workspace.add_user("+14155550002")
    workspace.add_user("US.1349")
    asked = ["+14155550001", "+14155550002", "+14155550003", "US.1349"]

    assert list(await braze(workspace.url).vanished(http, asked)) == ["+14155550002", "+14155550003"]
    assert [path for path, _ in workspace.requests] == ["/users/export/ids"]


async def test_a_look_up_asks_for_aliases_and_says_which_fields_it_needs(
    workspace: Workspace, http: HttpClient
) -> None:
    await braze(workspace.url, alias_label="handset").vanished(http, [SENDER])

    assert workspace.requests == [
        (
            "/users/export/ids",
            {
                "user_aliases": [{"alias_label": "handset", "alias_name": SENDER}],
                "fields_to_export": ["user_aliases", "phone"],
            },
        )
    ]


@pytest.mark.parametrize("writes_plus", [True, False])
async def test_numbers_are_the_same_with_their_plus_sign_or_without(
    workspace: Workspace, http: HttpClient, writes_plus: bool
) -> None:
    workspace.writes_plus = writes_plus
    workspace.add_user(SENDER, phone=SENDER)
    workspace.add_user(OTHER, phone="+14155550000")  # the alias has stayed, the number has changed

    assert list(await braze(workspace.url).vanished(http, [SENDER, OTHER])) == [OTHER]


async def test_whoever_vanished_is_made_known_again_with_number_and_state(
    workspace: Workspace, http: HttpClient
) -> None:
    platform = braze(workspace.url, consent="status_set")
    workspace.add_user(SENDER, phone=SENDER)
    workspace.remove_user(SENDER)

    assert list(await platform.vanished(http, [SENDER])) == [SENDER]
    await platform.ensure_aliases(http, [SENDER])
    await platform.deliver(http, [event(intent="opt_out", after="unsubscribed", new_alias=True)])
    await workspace.until(lambda: workspace.state(SENDER, "group-deals") == "unsubscribed")

    assert workspace.profiles["phone", SENDER].phone == SENDER


@pytest.mark.parametrize(
    "users",
    [
        "[null, 7, {}]",
        '[{"user_aliases": null, "phone": "14155550123"}]',
        '[{"user_aliases": [7, {"alias_label": "phone"}], "phone": "14155550123"}]',
        f'[{{"user_aliases": [{{"alias_label": "crm", "alias_name": "{SENDER}"}}], "phone": "14155550123"}}]',
    ],
)
async def test_an_export_that_does_not_show_the_alias_shows_nobody(users: str) -> None:
    http = Recorder(201, f'{{"users": {users}}}'.encode())

    assert list(await braze(URL).vanished(http, [SENDER])) == [SENDER]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"users": null}', b'{"users": [{"user_ali'])
async def test_an_export_without_users_is_a_failure_and_nobody_counts_as_vanished(body: bytes) -> None:
    with pytest.raises(DeliveryError, match="Set look_up = false") as caught:
        await braze(URL).vanished(Recorder(201, body), [SENDER])

    assert caught.value.retryable


async def test_a_look_up_without_its_permission_says_which_and_creates_nobody(
    workspace: Workspace, http: HttpClient
) -> None:
    workspace.permissions = {"users.track", "users.alias.new"}

    with pytest.raises(DeliveryError, match=r"permission users\.export\.ids") as caught:
        await braze(workspace.url, look_up=True).ensure_aliases(http, [SENDER])

    assert (caught.value.retryable, caught.value.retry_after) == (True, 60.0)
    assert workspace.profiles == {}


async def test_without_look_up_nobody_is_asked_about() -> None:
    http = Scripted((201, b"{}"))

    await braze(URL).ensure_aliases(http, [SENDER])

    ((url, _, body),) = http.requests
    assert url == f"{URL}/users/alias/new"
    assert json.loads(body) == {"user_aliases": [{"alias_label": "phone", "alias_name": SENDER}]}


def test_it_checks_aliases_only_if_it_is_told_to() -> None:
    never, often = braze(URL), braze(URL, check_every_seconds=30.0)

    assert isinstance(often, ChecksAliases)
    assert (never.check_every, often.check_every, often.check_size) == (0.0, 30.0, 50)
