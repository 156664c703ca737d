"""`/users/track`: what is taken, what is refused with which words, and that nothing is lost without a word."""

from typing import Any

import pytest

from router.calls import Call, prepare_call
from router.config import load
from router.records import read_decision
from router.routing import Routing
from router.store import Commits
from tests.calling import ANNA, BERT, CARL, Caller

ALIAS = {"alias_label": "phone", "alias_name": ANNA}
NOTHING = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
REQUIRED = "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
TIME = "2026-02-03T10:00:00Z"


def group(state: str = "subscribed", group_id: str = "group-alerts", **more: Any) -> dict[str, Any]:
    return {"subscription_group_id": group_id, "subscription_state": state} | more


def captured(**more: Any) -> dict[str, Any]:
    return {"phone": ANNA, "name": "phone_number_captured", "time": "2030-01-01T00:00:00Z"} | more


async def test_subscription_groups_in_attributes_change_consent(api: Caller) -> None:
    answer = await api.track(attributes=[{"phone": ANNA, "subscription_groups": [group(), group(group_id="deals")]}])

    assert answer == (201, {"message": "success", "attributes_processed": 1})
    assert await api.decided() == [
        ("alerts", "api:/users/track", "none", "subscribed", None),
        ("deals", "api:/users/track", "none", "subscribed", None),
    ]


async def test_double_opt_in_asks_only_if_the_caller_wants_it_and_the_program_has_it(api: Caller) -> None:
    asked = [group(group_id="deals", use_double_opt_in_logic=True), group(use_double_opt_in_logic=True)]
    await api.track(attributes=[{"phone": ANNA, "subscription_groups": asked}])

    assert await api.decided() == [
        ("deals", "api:/users/track", "none", "pending", "Reply YES."),
        ("alerts", "api:/users/track", "none", "subscribed", None),
    ]


async def test_an_event_that_a_program_listens_to_subscribes_and_welcomes(api: Caller) -> None:
    answer = await api.track(events=[captured()])

    assert answer == (201, {"message": "success", "events_processed": 1})
    assert await api.decided() == [
        ("alerts", "api:event/phone_number_captured", "none", "subscribed", "Welcome to Alerts.")
    ]


async def test_an_event_asks_first_where_the_program_has_a_double_opt_in(api: Caller) -> None:
    await api.track(events=[captured(name="deals_number_captured")])

    assert await api.decided() == [("deals", "api:event/deals_number_captured", "none", "pending", "Reply YES.")]


@pytest.mark.parametrize("name", ["phone_number", "phone"])
async def test_the_number_of_an_event_is_that_in_its_properties(api: Caller, name: str) -> None:
    event = captured(external_id="u1", phone=None, properties={name: "+1 415 555 0102"})
    answer = await api.track(events=[event])

    assert answer == (201, {"message": "success", "events_processed": 1})
    assert await api.state(BERT) == "subscribed"
    assert (await api.get("/subscription/status/get", subscription_group_id="group-alerts", external_id="u1"))[1][
        "status"
    ] == {"u1": "Subscribed"}


async def test_an_external_id_that_has_a_number_keeps_it_whatever_an_event_captures(api: Caller) -> None:
    await api.track(attributes=[{"external_id": "u1", "phone": ANNA}])
    await api.track(events=[captured(external_id="u1", phone=None, properties={"phone": BERT})])
    await api.track(events=[captured(external_id="u1", phone=CARL)])
    await api.set("unsubscribed", external_id="u1")

    assert [await api.state(each) for each in (BERT, CARL)] == ["subscribed"] * 2
    assert await api.state(ANNA) == "unsubscribed"


async def test_each_event_object_is_a_new_event(api: Caller) -> None:
    await api.track(events=[captured()])
    await api.set("unsubscribed", ANNA)
    api.clock.now += 1
    await api.track(events=[captured()])

    assert await api.state() == "subscribed"


async def test_an_event_older_than_an_opt_out_does_not_take_it_back(api: Caller) -> None:
    await api.says("STOP")
    status, answer = await api.track(events=[captured(time=TIME)])

    assert (status, answer["events_processed"]) == (201, 0)
    assert "opted out since" in answer["errors"][0]["type"]
    assert await api.state() == "unsubscribed"


async def test_an_opt_out_is_not_taken_back_by_the_request_that_has_it(api: Caller) -> None:
    attributes = [
        {"phone": ANNA, "subscription_groups": [group("unsubscribed")]},
        {"phone": ANNA, "subscription_groups": [group()]},
    ]
    status, answer = await api.track(attributes=attributes, events=[captured()])

    assert (status, answer["attributes_processed"], answer["events_processed"]) == (201, 2, 0)
    assert [(error["input_array"], error["index"]) for error in answer["errors"]] == [("attributes", 1), ("events", 0)]
    assert await api.state() == "unsubscribed"


async def test_attributes_with_an_external_id_and_a_phone_teach_who_that_is(api: Caller) -> None:
    await api.track(attributes=[{"external_id": "u1", "phone": ANNA}])
    answer = await api.track(attributes=[{"external_id": "u1", "subscription_groups": [group()]}])

    assert answer == (201, {"message": "success", "attributes_processed": 1})
    assert await api.state() == "subscribed"


async def test_what_attributes_teach_holds_for_the_events_of_the_same_request(api: Caller) -> None:
    teaching = {"external_id": "u1", "phone": ANNA}
    answer = await api.track(attributes=[teaching], events=[captured(external_id="u1", phone=None)])

    assert answer == (201, {"message": "success", "attributes_processed": 1, "events_processed": 1})
    assert await api.state() == "subscribed"


@pytest.mark.parametrize(
    ("flag", "known", "taken"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"_update_existing_only": True}, False, False),
        ({"_update_existing_only": True}, True, True),
        ({"_update_existing_only": False}, False, True),
        ({"_update_existing_only": False}, True, True),
    ],
)
@pytest.mark.parametrize("array", ["attributes", "events"])
async def test_an_alias_that_nobody_has_changes_nothing_unless_told_so_and_that_is_said(
    api: Caller, array: str, flag: dict[str, Any], known: bool, taken: bool
) -> None:
    if known:
        await api.says("HELP")
        await api.set("unsubscribed", ANNA, group="deals")
    given = {"user_alias": ALIAS} | flag
    given |= {"subscription_groups": [group()]} if array == "attributes" else captured(phone=None)
    status, answer = await api.track(**{array: [given]})

    assert status == 201
    assert answer[f"{array}_processed"] == taken
    assert ("errors" in answer) != taken
    assert (await api.state() == "subscribed") == taken


async def test_an_alias_that_attributes_create_exists_for_what_follows(api: Caller) -> None:
    creating = {"user_alias": ALIAS, "_update_existing_only": False}
    answer = await api.track(attributes=[creating], events=[captured(phone=None, user_alias=ALIAS)])

    assert answer == (201, {"message": "success", "attributes_processed": 1, "events_processed": 1})
    assert (await api.track(attributes=[{"user_alias": ALIAS, "subscription_groups": [group("unsubscribed")]}]))[1][
        "attributes_processed"
    ] == 1


async def test_attributes_that_are_not_kept_are_named_and_the_rest_is_taken(api: Caller) -> None:
    more = {"first_name": "Anna", "email": "anna@example.com", "language": "fr"}
    status, answer = await api.track(attributes=[{"phone": ANNA, "subscription_groups": [group()]} | more])

    assert (status, answer["message"], answer["attributes_processed"]) == (201, "success", 1)
    (error,) = answer["errors"]
    assert "'first_name', 'email'" in error["type"]
    assert "platform itself" in error["type"]
    assert "anna@example.com" not in error["type"]
    assert await api.state() == "subscribed"


async def test_objects_that_mean_nothing_here_are_named_and_not_counted(api: Caller) -> None:
    status, answer = await api.track(
        attributes=[{"external_id": "u1", "first_name": "Anna"}],
        events=[captured(name="bought")],
        purchases=[{"external_id": "u1", "product_id": "x"}],
    )

    assert status == 201
    assert answer["message"] == "success"
    assert [answer[f"{name}_processed"] for name in ("attributes", "events", "purchases")] == [0, 0, 0]
    assert sorted(error["input_array"] for error in answer["errors"]) == ["attributes", "events", "purchases"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, REQUIRED),
        ({"subscription_groups": [group()]}, REQUIRED),
        ("nonsense", "valid dictionary"),
        ({"phone": "20202", "language": "en"}, "'phone' is no phone number"),
        ({"phone": 14155550101}, "phone: Input should be a valid string"),
        ({"email": "a@example.com", "language": "en"}, "known by their phone number"),
        ({"braze_id": "x", "language": "en"}, "known by their phone number"),
        ({"external_id": "stranger", "subscription_groups": [group()]}, "'external_id' is not known here"),
        ({"user_alias": {"alias_label": "other", "alias_name": ANNA}, "language": "en"}, "with the label 'phone'"),
        ({"user_alias": {"alias_label": "phone", "alias_name": "anna"}, "language": "en"}, "'alias_name' is no phone"),
        ({"user_alias": {"alias_label": "phone"}}, "user_alias.alias_name: Field required"),
        ({"user_alias": ALIAS, "phone": BERT, "language": "en"}, "two numbers"),
        ({"phone": ANNA, "language": "not a language"}, "'language' is no language tag"),
        ({"phone": ANNA, "subscription_groups": [group(group_id="nonsense")]}, "There is no subscription group"),
        (
            {"phone": ANNA, "subscription_groups": [group(group_id="news", use_double_opt_in_logic=True)]},
            "has no number that its question or welcome can be sent from",
        ),
        ({"phone": ANNA, "subscription_groups": [group("maybe")]}, "subscription_state: Input should be"),
        ({"phone": ANNA, "subscription_groups": [group(), group(group_id="x")]}, "There is no subscription group"),
    ],
)
async def test_a_bad_attributes_object_is_named_does_nothing_and_stops_no_other(
    api: Caller, given: object, says: str
) -> None:
    alone, refusal = await api.track(attributes=[given])
    status, answer = await api.track(attributes=[given, {"phone": BERT, "subscription_groups": [group()]}])

    assert (alone, refusal["message"]) == (400, NOTHING)
    assert (status, answer["attributes_processed"]) == (201, 1)
    (error,) = answer["errors"]
    assert refusal["errors"] == [error]
    assert says in error.pop("type")
    assert error == {"input_array": "attributes", "index": 0}
    assert await api.state(ANNA) == "none"
    assert await api.state(BERT) == "subscribed"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"phone": None}, REQUIRED),
        ({"name": None}, "name: Input should be a valid string"),
        ({"name": ""}, "name: String should have at least 1 character"),
        ({"time": "yesterday"}, "'time' must be an ISO 8601 time"),
        ({"time": 1}, "time: Input should be a valid string"),
        ({"properties": []}, "properties: Input should be a valid dictionary"),
        ({"properties": {"time": 1}}, "'time' is a reserved property name"),
        ({"properties": {"event_name": 1}}, "'event_name' is a reserved property name"),
        ({"properties": {"$x": 1}}, "property names have 1 to 255 characters"),
        ({"properties": {"": 1}}, "property names have 1 to 255 characters"),
        ({"properties": {"x": {"y" * 256: 1}}}, "property names have 1 to 255 characters"),
        ({"properties": {"x": ["y" * 256]}}, "strings in 'properties' have at most 255 characters"),
        ({"properties": {"x": [1] * 60_000}}, "'properties' has more than 100 KB"),
        ({"properties": {"phone": "none"}}, "the phone number in 'properties' is none"),
        ({"properties": {"phone": 5}}, "the phone number in 'properties' is none"),
        ({"phone": None, "external_id": "stranger"}, "'external_id' is not known here"),
    ],
)
async def test_a_bad_event_is_named_does_nothing_and_stops_no_other(
    api: Caller, change: dict[str, Any], says: str
) -> None:
    status, answer = await api.track(events=[captured() | change, captured(phone=BERT)])

    assert (status, answer["events_processed"]) == (201, 1)
    (error,) = answer["errors"]
    assert says in error.pop("type")
    assert error == {"input_array": "events", "index": 0}
    assert await api.state(ANNA) == "none"
    assert await api.state(BERT) == "subscribed"


@pytest.mark.parametrize(
    "time", ["2026-02-03T10:00:00Z", "2026-02-03T10:00:00:123Z", "2026-02-03T10:00:00:123+0100", "2026-02-03"]
)
async def test_times_are_taken_in_every_documented_form(api: Caller, time: str) -> None:
    assert (await api.track(events=[captured(time=time)]))[1] == {"message": "success", "events_processed": 1}


@pytest.mark.parametrize("body", [{}, {"attributes": []}, {"attributes": None, "events": []}, {"partner": "x"}])
async def test_a_request_without_objects_is_refused(api: Caller, body: dict[str, Any]) -> None:
    assert await api.post_json("/users/track", body) == (400, {"message": NOTHING})


@pytest.mark.parametrize("array", ["attributes", "events", "purchases"])
async def test_75_objects_of_a_kind_are_taken_and_76_are_too_many(api: Caller, array: str) -> None:
    objects = [captured() if array == "events" else {"phone": ANNA, "language": "en"}] * 76
    enough = await api.track(**{array: objects[:75]})
    too_many = await api.track(**{array: objects}, **{} if array == "attributes" else {"attributes": objects[:1]})

    assert enough[0] == 201
    assert too_many == (400, {"message": "Max Input Length Exceeded"})


async def test_who_a_carrier_blocks_is_subscribed_and_the_caller_is_told_that_only_a_text_helps(api: Caller) -> None:
    await api.is_blocked(CARL)
    status, answer = await api.track(attributes=[{"phone": CARL, "subscription_groups": [group()]}])

    assert (status, answer["attributes_processed"]) == (201, 1)
    assert "START or UNSTOP" in answer["errors"][0]["type"]
    assert await api.state(CARL) == "subscribed"


async def test_proof_is_kept_with_the_change(api: Caller) -> None:
    proof = {"source_url": "https://example.com/form", "consent_text": "I agree."}
    await api.track(
        attributes=[{"phone": ANNA, "subscription_groups": [group(**proof)]}],
        events=[captured(phone=BERT, properties=proof)],
    )

    for entry in await api.entries():
        kept = entry.event.message.proof
        assert kept is not None
        assert (kept.source_url, kept.consent_text, kept.operator) == (*proof.values(), "all")


async def test_the_language_of_a_person_is_that_of_the_question(api: Caller) -> None:
    asked = [group(group_id="deals", use_double_opt_in_logic=True)]
    await api.track(attributes=[{"phone": ANNA, "language": "fr", "subscription_groups": asked}])

    assert [row[4] for row in await api.decided()] == ["Répondez OUI."]


async def test_an_event_of_a_program_that_cannot_text_is_named_and_subscribes_nobody(api: Caller) -> None:
    status, answer = await api.track(events=[captured(name="news_number_captured"), captured(phone=BERT)])

    assert (status, answer["events_processed"]) == (201, 1)
    assert "has no number that its question or welcome can be sent from" in answer["errors"][0]["type"]
    assert await api.state(ANNA, "news") == "none"


@pytest.mark.parametrize(("tag", "prompt"), [("fr-CA", "Répondez OUI."), ("FR", "Répondez OUI."), ("de", "Reply YES.")])
async def test_a_persons_language_is_that_of_the_texts_in_whatever_form_it_is_written(
    api: Caller, tag: str, prompt: str
) -> None:
    asked = group(group_id="deals", use_double_opt_in_logic=True)
    await api.track(attributes=[{"phone": ANNA, "language": tag, "subscription_groups": [asked]}])

    assert [row[4] for row in await api.decided()] == [prompt]


async def test_an_opt_out_counts_also_of_somebody_who_is_not_known_by_the_alias(api: Caller) -> None:
    known = {"user_alias": ALIAS, "subscription_groups": [group("unsubscribed")]}
    groups = [group("unsubscribed"), group(group_id="deals")]
    mixed = {"user_alias": ALIAS | {"alias_name": BERT}, "language": "fr", "subscription_groups": groups}
    status, answer = await api.track(attributes=[known, mixed])

    assert (status, answer["attributes_processed"]) == (201, 2)
    (error,) = answer["errors"]
    assert error["index"] == 1
    assert "nothing but an opt-out counts" in error["type"]
    assert await api.state(ANNA) == await api.state(BERT) == "unsubscribed"
    assert await api.state(BERT, "deals") == "none"


async def test_whom_the_same_request_subscribes_outright_an_event_does_not_ask(api: Caller) -> None:
    await api.track(
        attributes=[{"phone": ANNA, "subscription_groups": [group(group_id="deals")]}],
        events=[captured(name="deals_number_captured")],
    )

    assert await api.state(ANNA, "deals") == "subscribed"
    assert [row[4] for row in await api.decided()] == [None]


async def test_an_event_that_is_sent_again_asks_once(api: Caller) -> None:
    for _ in range(3):
        await api.track(events=[captured(name="deals_number_captured", time="2027-01-15T07:00:00Z")])

    assert [row[4] for row in await api.decided()] == ["Reply YES.", None, None]


async def test_an_opt_out_while_an_event_of_before_is_under_way_holds(api: Caller) -> None:
    said_at = api.clock.now
    api.clock.now += 0.001
    await api.says("STOP")
    async with api.store() as store:
        commits = Commits(store, unhandled_kept=8, clock=api.clock, on_failure=lambda: None)
        made = Call("c1", ANNA, "alerts", "subscribed", "api:event/x", welcome=True, said_at=said_at)
        decided = await commits.commit(prepare_call(Routing(load(api.config)), made, api.clock()).commit)

    decision = read_decision(decided.decision)
    assert (decision.before, decision.after, decision.reply) == ("unsubscribed", "unsubscribed", None)
    assert await api.state() == "unsubscribed"
