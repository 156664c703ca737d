"""The endpoints of subscription groups: who is meant, what is answered, and that a bad request changes nobody."""

from typing import Any

import pytest

from router.calls import Call, prepare_call
from router.config import load
from router.errors import BadPayload
from router.routing import Routing
from tests.calling import ANNA, BERT, CARL, Caller

SUCCESS = (201, {"message": "success"})
NOT_BOTH = {"message": "Either an email address or a phone number should be provided, but not both."}
TOO_MANY = {"message": "The max number of ids per request was exceeded"}
V2 = "/v2/subscription/status/set"


def numbers(count: int) -> list[str]:
    return [f"+1415555{number:04}" for number in range(count)]


async def set_v2(api: Caller, *groups: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return await api.post_json(V2, {"subscription_groups": groups})


def wanted(state: str, *phones: str, group: str = "group-alerts", **more: Any) -> dict[str, Any]:
    return {"subscription_group_id": group, "subscription_state": state, "phones": list(phones)} | more


async def test_people_are_subscribed_and_unsubscribed_by_number(api: Caller) -> None:
    assert await api.set("subscribed", ANNA, BERT) == SUCCESS
    assert await api.set("unsubscribed", BERT) == SUCCESS

    rule = "api:/subscription/status/set"
    assert await api.decided(ANNA) == [("alerts", rule, "none", "subscribed", None)]
    assert await api.decided(BERT) == [
        ("alerts", rule, "none", "subscribed", None),
        ("alerts", rule, "subscribed", "unsubscribed", None),
    ]


async def test_people_may_be_named_alone_without_a_list_and_states_in_any_case(api: Caller) -> None:
    body = {"subscription_group_id": "group-alerts", "subscription_state": "Subscribed", "phone": ANNA, "email": None}

    assert await api.post_json("/subscription/status/set", body) == SUCCESS
    assert await api.state() == "subscribed"


@pytest.mark.parametrize(("group", "program"), [("group-alerts", "alerts"), ("alerts", "alerts"), ("deals", "deals")])
async def test_a_group_is_called_by_its_group_id_or_by_the_name_of_the_program(
    api: Caller, group: str, program: str
) -> None:
    assert await api.set("subscribed", ANNA, group=group) == SUCCESS
    assert await api.state(ANNA, program) == "subscribed"


async def test_an_id_and_a_number_one_of_each_are_one_person_known_by_the_id_from_then_on(api: Caller) -> None:
    assert await api.set("subscribed", ANNA, external_id="u1") == SUCCESS
    assert await api.set("unsubscribed", external_id=["u1"]) == SUCCESS
    assert await api.state() == "unsubscribed"


async def test_ids_that_are_not_known_are_named_and_the_others_are_taken(api: Caller) -> None:
    await api.track(attributes=[{"external_id": "u1", "phone": ANNA}])
    status, answer = await api.set("unsubscribed", external_id=["u0", "u1"])

    assert (status, answer["message"]) == (201, "success")
    assert answer["errors"] == [
        "external_id[0] is not known here. Send it together with the phone number once, to /users/track."
    ]
    assert await api.state() == "unsubscribed"


async def test_a_request_that_names_nobody_who_is_known_is_refused(api: Caller) -> None:
    status, answer = await api.set("unsubscribed", external_id=["u0"])

    assert status == 400
    assert "nobody that the request names" in answer["message"]
    assert "external_id[0] is not known" in answer["errors"][0]


async def test_double_opt_in_asks_only_if_told_to_and_who_is_subscribed_is_not_asked(api: Caller) -> None:
    await api.set("subscribed", ANNA, group="deals", use_double_opt_in_logic=True)
    await api.set("subscribed", BERT, group="deals", use_double_opt_in_logic=False)
    await api.set("subscribed", BERT, group="deals", use_double_opt_in_logic=True)
    await api.set("unsubscribed", CARL, group="deals", use_double_opt_in_logic=True)

    assert [(row[3], row[4]) for row in await api.decided(ANNA)] == [("pending", "Reply YES.")]
    assert [(row[3], row[4]) for row in await api.decided(BERT)] == [("subscribed", None), ("subscribed", None)]
    assert [(row[3], row[4]) for row in await api.decided(CARL)] == [("unsubscribed", None)]


async def test_who_is_asked_is_subscribed_by_a_yes(api: Caller) -> None:
    await api.set("subscribed", ANNA, group="deals", use_double_opt_in_logic=True)
    await api.says("YES", to="20202")

    assert await api.state(ANNA, "deals") == "subscribed"


async def test_who_has_not_answered_yet_is_not_reminded_and_has_no_more_time(api: Caller) -> None:
    await api.set("subscribed", ANNA, group="deals", use_double_opt_in_logic=True)
    api.clock.now += 29 * 86_400
    await api.set("subscribed", ANNA, group="deals", use_double_opt_in_logic=True)
    api.clock.now += 2 * 86_400
    await api.says("YES", to="20202")

    assert [row[4] for row in await api.decided()] == ["Reply YES.", None, None]
    assert await api.state(ANNA, "deals") == "none"


async def test_a_block_is_told_of_only_where_the_program_has_the_number(api: Caller) -> None:
    await api.is_blocked(ANNA)

    assert await api.set("subscribed", ANNA, group="deals") == SUCCESS
    assert "errors" in (await api.set("subscribed", ANNA, group="alerts"))[1]


async def test_a_call_for_a_program_that_a_reload_took_out_meanwhile_is_refused(api: Caller) -> None:
    routing = Routing(load(api.config))

    with pytest.raises(BadPayload, match="no program gone any more"):
        prepare_call(routing, Call("c1", ANNA, "gone", "subscribed", "api:x"), api.clock())


async def test_proof_and_the_name_of_the_key_go_with_the_change(api: Caller) -> None:
    await api.set("subscribed", ANNA, source_url="https://example.com/form", consent_text="I agree.")

    (entry,) = await api.entries()
    proof = entry.event.message.proof
    assert proof is not None
    assert (proof.source_url, proof.consent_text, proof.operator) == ("https://example.com/form", "I agree.", "all")


async def test_keys_that_mean_nothing_are_named(api: Caller) -> None:
    status, answer = await api.set("subscribed", ANNA, use_double_optin_logic=True, api_key="x")

    assert status == 201
    assert answer["errors"] == ["'use_double_optin_logic' means nothing here and was left out."]


async def test_who_a_carrier_blocks_is_subscribed_and_the_caller_is_told_that_only_a_text_helps(api: Caller) -> None:
    await api.is_blocked(BERT)
    status, answer = await api.set("subscribed", ANNA, BERT)

    assert (status, answer["message"]) == (201, "success")
    (error,) = answer["errors"]
    assert error.startswith("phone[1]")
    assert "START or UNSTOP" in error
    assert (await api.set("unsubscribed", BERT)) == SUCCESS


async def test_several_groups_and_states_go_in_one_call(api: Caller) -> None:
    await api.track(attributes=[{"external_id": "u1", "phone": CARL}])
    answer = await set_v2(
        api,
        wanted("subscribed", ANNA, BERT),
        wanted("unsubscribed", ANNA, group="deals"),
        wanted("unsubscribed", external_ids=["u1"]),
    )

    assert answer == SUCCESS
    assert [await api.state(each) for each in (ANNA, BERT, CARL)] == ["subscribed", "subscribed", "unsubscribed"]
    assert await api.state(ANNA, "deals") == "unsubscribed"
    assert {row[1] for row in await api.decided(ANNA)} == {"api:/v2/subscription/status/set"}


async def test_an_opt_out_is_not_taken_back_by_the_call_that_has_it(api: Caller) -> None:
    status, answer = await set_v2(api, wanted("unsubscribed", ANNA), wanted("subscribed", BERT, ANNA))

    assert status == 201
    assert answer["errors"] == [
        "subscription_groups[1].phones[1]: the same request opts this person out, and that holds."
    ]
    assert [await api.state(each) for each in (ANNA, BERT)] == ["unsubscribed", "subscribed"]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (wanted("subscribed", ANNA, group="nonsense"), "There is no subscription group 'nonsense'"),
        (wanted("subscribed", "20202"), "subscription_groups[1].phones[0] is no phone number"),
        (wanted("subscribed", "nonsense"), "subscription_groups[1].phones[0] is no phone number"),
        (wanted("subscribed", ANNA, emails=["a@example.com"]), NOT_BOTH["message"]),
        (wanted("subscribed", emails=["a@example.com"]), "name people by 'external_id' or 'phone'"),
        (wanted("subscribed"), "name people by 'external_id' or 'phone'"),
        (wanted("perhaps", ANNA), "subscription_groups.1.subscription_state: Input should be"),
        (wanted("subscribed", *numbers(51)), TOO_MANY["message"]),
        ({"subscription_state": "subscribed", "phones": [ANNA]}, "subscription_group_id: Field required"),
        (wanted("subscribed", phones=[1]), "subscription_groups.1.phones.0: Input should be a valid string"),
        (wanted("subscribed", external_ids=[""]), "subscription_groups.1.external_ids.0"),
        ("nonsense", "subscription_groups.1: Input should be a valid dictionary"),
    ],
)
async def test_one_bad_item_changes_nobody(api: Caller, bad: Any, says: str) -> None:
    status, answer = await set_v2(api, wanted("subscribed", BERT), bad)

    assert status == 400
    assert says in answer["message"]
    assert await api.entries() == []
    assert await api.state(BERT) == "none"


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ({"phone": numbers(51)}, TOO_MANY),
        ({"external_id": [f"u{n}" for n in range(51)]}, TOO_MANY),
        ({"email": "a@example.com"}, NOT_BOTH),
    ],
)
async def test_the_documented_words_are_used(api: Caller, more: dict[str, Any], answer: dict[str, str]) -> None:
    assert await api.set("subscribed", ANNA, **more) == (400, answer)
    assert await api.entries() == []


async def test_50_people_are_not_too_many(api: Caller) -> None:
    assert await api.set("subscribed", *numbers(50)) == SUCCESS
    assert len(await api.entries()) == 50


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"phone": NaN}', "not JSON"),
        (b'{"phone": "\xff"}', "not JSON"),
        (b"[" * 5000, "not JSON"),
        (b"[]", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b"{}", "subscription_group_id: Field required"),
    ],
)
async def test_a_body_that_makes_no_sense_is_refused_in_words(api: Caller, body: bytes, says: str) -> None:
    reply = await api.send("POST", "/subscription/status/set", body)

    assert reply.status == 400
    assert says in reply.body.decode()


async def test_a_body_of_another_type_is_refused(api: Caller) -> None:
    reply = await api.send("POST", V2, b"{}", content_type="text/plain")

    assert reply.status == 400
    assert b"application/json" in reply.body


async def test_a_state_is_read_as_the_platform_writes_it(api: Caller) -> None:
    dora, emil = "+14155550104", "+14155550105"
    await api.set("subscribed", ANNA, group="deals")
    await api.set("unsubscribed", BERT, group="deals")
    await api.set("subscribed", CARL, group="deals", use_double_opt_in_logic=True)
    await api.says("HELP", sender=dora, to="20202")
    asked = [ANNA, BERT, CARL, dora, emil]

    assert await api.get("/subscription/status/get", subscription_group_id="deals", phone=asked) == (
        200,
        {
            "message": "success",
            "status": dict(
                zip(asked, ["Subscribed", "Unsubscribed", "Unsubscribed", "Unknown", "Unknown"], strict=True)
            ),
        },
    )


async def test_an_opt_out_for_the_whole_account_counts(api: Caller) -> None:
    await api.set("subscribed", ANNA)
    await api.says("STOP", to="+14155550888")

    _, answer = await api.get("/subscription/status/get", subscription_group_id="group-alerts", phone=ANNA)
    assert answer["status"] == {ANNA: "Unsubscribed"}


async def test_people_are_asked_for_by_id_and_other_names_then_do_not_count(api: Caller) -> None:
    await api.set("subscribed", ANNA, external_id="u1")
    query: dict[str, Any] = {
        "subscription_group_id": "alerts",
        "external_id": "u1",
        "ids": ["u1", "u2"],
        "phone": "nonsense",
    }

    assert (await api.get("/subscription/status/get", **query))[1]["status"] == {"u1": "Subscribed", "u2": "Unknown"}


async def test_a_plus_that_was_not_encoded_is_one(api: Caller) -> None:
    await api.set("subscribed", ANNA)
    reply = await api.send("GET", "/subscription/status/get", b"", query=f"subscription_group_id=alerts&phone={ANNA}")

    assert reply.body.decode() == f'{{"message":"success","status":{{"{ANNA}":"Subscribed"}}}}'


async def test_the_groups_of_a_person_are_those_with_a_history(api: Caller) -> None:
    await api.set("subscribed", ANNA, external_id="u1")

    assert await api.get("/subscription/user/status", ids="u1") == (
        200,
        {
            "success": True,
            "subscription_groups": [{"subscription_group_id": "group-alerts", "subscription_status": "subscribed"}],
        },
    )
    assert (await api.get("/subscription/user/status", phone=BERT))[1]["subscription_groups"] == []
    assert (await api.get("/subscription/user/status", external_id="u9"))[1]["subscription_groups"] == []


async def test_several_people_are_told_apart_and_a_page_is_cut_out(api: Caller) -> None:
    await api.set("subscribed", ANNA, BERT)
    await api.set("unsubscribed", ANNA, group="deals")
    _, answer = await api.get("/subscription/user/status", phone=[ANNA, BERT], limit=2, offset=1)

    assert answer["subscription_groups"] == [
        {"subscription_group_id": "group-alerts", "subscription_status": "subscribed", "phone": ANNA},
        {"subscription_group_id": "group-alerts", "subscription_status": "subscribed", "phone": BERT},
    ]


@pytest.mark.parametrize("path", ["/subscription/status/get", "/subscription/user/status"])
@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({}, "name people by"),
        ({"email": "a@example.com"}, "name people by"),
        ({"email": "a@example.com", "phone": ANNA}, NOT_BOTH["message"]),
        ({"phone": "nonsense"}, "phone[0] is no phone number"),
        ({"external_id": ""}, "external_id.0"),
        ({"phone": numbers(51)}, TOO_MANY["message"]),
        ({"ids": [str(n) for n in range(51)]}, TOO_MANY["message"]),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused_in_words(
    api: Caller, path: str, query: dict[str, Any], says: str
) -> None:
    status, answer = await api.get(path, subscription_group_id="deals", **query)

    assert status == 400
    assert says in answer["message"]


@pytest.mark.parametrize(
    ("path", "query", "says"),
    [
        ("/subscription/status/get", {}, "subscription_group_id: Field required"),
        ("/subscription/status/get", {"subscription_group_id": "x"}, "There is no subscription group 'x'"),
        ("/subscription/status/get", {"subscription_group_id": ["deals", "alerts"]}, "subscription_group_id"),
        ("/subscription/user/status", {"limit": 101}, "limit: "),
        ("/subscription/user/status", {"limit": "many"}, "limit: "),
        ("/subscription/user/status", {"offset": -1}, "offset: "),
    ],
)
async def test_a_parameter_that_makes_no_sense_is_named(
    api: Caller, path: str, query: dict[str, Any], says: str
) -> None:
    status, answer = await api.get(path, phone=ANNA, **query)

    assert status == 400
    assert says in answer["message"]


async def test_nobody_is_asked_by_a_program_that_cannot_text_and_nobody_else_is_changed(api: Caller) -> None:
    status, answer = await set_v2(
        api,
        wanted("subscribed", ANNA),
        wanted("subscribed", ANNA, group="news", use_double_opt_in_logic=True),
    )

    assert status == 400
    assert "no number that this text can be sent from" in answer["message"]
    assert await api.entries() == []
