"""Aliases: who is known by which number and id, and what a change of number does and does not take along."""

from typing import Any

import pytest

from tests.calling import ANNA, BERT, CARL, Caller

TOO_MANY = {"message": "The max number of external_ids and aliases per request was exceeded"}


def alias(name: str = ANNA, **more: Any) -> dict[str, Any]:
    return {"alias_label": "phone", "alias_name": name} | more


def change(old: str, new: str, **more: Any) -> dict[str, Any]:
    return {"alias_label": "phone", "old_alias_name": old, "new_alias_name": new} | more


async def new(api: Caller, *aliases: Any) -> tuple[int, dict[str, Any]]:
    return await api.post_json("/users/alias/new", {"user_aliases": aliases})


async def update(api: Caller, *changes: Any) -> tuple[int, dict[str, Any]]:
    return await api.post_json("/users/alias/update", {"alias_updates": changes})


async def unsubscribe(api: Caller, external_id: str) -> int:
    return (await api.set("unsubscribed", external_id=external_id))[0]


async def test_a_new_alias_makes_its_person_known(api: Caller) -> None:
    assert await new(api, alias()) == (201, {"message": "success", "aliases_processed": 1})
    state = {"subscription_group_id": "alerts", "subscription_state": "subscribed"}
    tracked = await api.track(attributes=[{"user_alias": alias(), "subscription_groups": [state]}])

    assert tracked == (201, {"message": "success", "attributes_processed": 1})
    assert await api.state() == "subscribed"


async def test_a_new_alias_with_an_external_id_teaches_whose_number_it_is(api: Caller) -> None:
    assert await new(api, alias(external_id="u1")) == (201, {"message": "success", "aliases_processed": 1})
    assert await unsubscribe(api, "u1") == 201
    assert await api.state() == "unsubscribed"


async def test_an_external_id_that_has_a_number_keeps_it_and_the_answer_is_success_all_the_same(api: Caller) -> None:
    await new(api, alias(external_id="u1"))
    status, answer = await new(api, alias(BERT, external_id="u1"))

    assert (status, answer["aliases_processed"]) == (201, 1)
    assert "/users/alias/update" in answer["errors"][0]
    await unsubscribe(api, "u1")
    assert [await api.state(each) for each in (ANNA, BERT)] == ["unsubscribed", "none"]


async def test_of_two_numbers_for_one_external_id_the_first_counts(api: Caller) -> None:
    await new(api, alias(ANNA, external_id="u1"), alias(BERT, external_id="u1"))
    await unsubscribe(api, "u1")

    assert [await api.state(each) for each in (ANNA, BERT)] == ["unsubscribed", "none"]


async def test_a_change_of_number_takes_the_ids_along_and_leaves_consent_where_it_was_given(api: Caller) -> None:
    await api.set("subscribed", ANNA, external_id="u1")
    await api.set("unsubscribed", BERT)
    assert await update(api, change(ANNA, BERT)) == (201, {"message": "success", "aliases_processed": 1})

    _, answer = await api.get("/subscription/status/get", subscription_group_id="alerts", external_id="u1")
    assert answer["status"] == {"u1": "Unsubscribed"}
    assert [await api.state(each) for each in (ANNA, BERT)] == ["subscribed", "unsubscribed"]


async def test_who_gets_a_number_later_is_not_taken_for_who_gave_it_up(api: Caller) -> None:
    await new(api, alias(ANNA, external_id="first"))
    await update(api, change(ANNA, BERT))
    await new(api, alias(ANNA, external_id="second"))
    await update(api, change(BERT, CARL))
    await unsubscribe(api, "second")

    assert [await api.state(each) for each in (ANNA, BERT, CARL)] == ["unsubscribed", "none", "none"]


async def test_a_change_of_a_number_that_nobody_has_does_nothing(api: Caller) -> None:
    assert await update(api, change(ANNA, BERT)) == (201, {"message": "success", "aliases_processed": 1})
    assert [await api.person(each) for each in (ANNA, BERT)] == [None, None]


async def test_aliases_with_another_label_are_not_kept_and_named(api: Caller) -> None:
    made, changed = await new(api, alias(alias_label="x")), await update(api, change("a", "b", alias_label="x"))

    for status, answer in (made, changed):
        assert (status, answer["message"], answer["aliases_processed"]) == (201, "success", 0)
        assert "only aliases with the label 'phone'" in answer["errors"][0]


async def test_aliases_that_are_no_numbers_are_named_and_the_others_are_taken(api: Caller) -> None:
    made = await new(api, alias("anna"), alias())
    changed = await update(api, change("anna", BERT), change(ANNA, "bert"), change(ANNA, BERT))

    assert (made[0], made[1]["aliases_processed"], len(made[1]["errors"])) == (201, 1, 1)
    assert (changed[0], changed[1]["aliases_processed"], len(changed[1]["errors"])) == (201, 1, 2)
    assert (await new(api, alias("anna")))[0] == (await update(api, change("anna", BERT)))[0] == 400


@pytest.mark.parametrize(
    ("path", "name", "good"),
    [("/users/alias/new", "user_aliases", alias()), ("/users/alias/update", "alias_updates", change(ANNA, BERT))],
)
async def test_50_aliases_are_taken_51_are_too_many_and_a_bad_shape_is_refused_as_a_whole(
    api: Caller, path: str, name: str, good: dict[str, Any]
) -> None:
    assert (await api.post_json(path, {name: [good] * 50}))[0] == 201
    assert await api.post_json(path, {name: [good] * 51}) == (400, TOO_MANY)
    shapes: list[dict[str, Any]] = [{}, {name: []}, {name: None}, {name: "x"}, {name: [good, {}]}, {name: [good, 5]}]
    for bad in shapes:
        status, answer = await api.post_json(path, bad)
        assert status == 400
        assert name in answer["message"]
