"""What callers send and get. The same models check requests, make answers, and are what the OpenAPI document shows."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

#: The most objects of each kind in one call of /users/track; the most people in any other call.
MOST_OBJECTS, MOST_PEOPLE = 75, 50
#: The label of the aliases whose name is a phone number.
PHONE_LABEL = "phone"

_ANY_CASE = "".join(f"[{letter.upper()}{letter}]" for letter in "subscribed")


def _lower(written: object) -> object:
    return written.lower() if isinstance(written, str) else written


def _listed(written: object) -> object:
    if written is None:
        return []
    return [written] if isinstance(written, str) else written


ExternalId = Annotated[
    str, StringConstraints(min_length=1, max_length=1024), Field(description="A caller's own id for a person.")
]
GroupId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    Field(description="The `group_id` of a program, or its name in the configuration.", examples=["deals"]),
]
Phone = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    Field(description="A phone number in E.164.", examples=["+14155550101"]),
]
Email = Annotated[
    str, StringConstraints(min_length=1, max_length=320), Field(description="Nobody is known by an e-mail address.")
]
State = Annotated[
    Literal["subscribed", "unsubscribed"],
    BeforeValidator(_lower, json_schema_input_type=Annotated[str, Field(pattern=f"^([Uu][Nn])?{_ANY_CASE}$")]),
]
ExternalIds = Annotated[
    list[ExternalId], BeforeValidator(_listed, json_schema_input_type=ExternalId | list[ExternalId] | None)
]
Phones = Annotated[list[Phone], BeforeValidator(_listed, json_schema_input_type=Phone | list[Phone] | None)]
Emails = Annotated[list[Email], BeforeValidator(_listed, json_schema_input_type=Email | list[Email] | None)]


class Model(BaseModel):
    """What all of them are: made ready when it is first used, since a process that nobody calls is to stay small."""

    model_config = ConfigDict(defer_build=True)


class Sent(Model):
    """Something that a caller sends. Values are never coerced; keys that are not known are kept by their names."""

    model_config = ConfigDict(extra="allow", strict=True, hide_input_in_errors=True, frozen=True)
    #: Keys that callers of the platform send and that hold nothing about anybody.
    harmless: ClassVar[frozenset[str]] = frozenset({"api_key", "app_id", "partner"})

    @property
    def unknown(self) -> list[str]:
        """The keys that mean nothing here."""
        return [key for key in self.model_extra or {} if key not in self.harmless]


class GroupState(Sent):
    """A state in one subscription group. `source_url` and `consent_text` are kept as proof of consent."""

    subscription_group_id: GroupId
    subscription_state: State
    use_double_opt_in_logic: bool | None = Field(
        None, description="Ask before subscribing, if the program has a double opt-in."
    )
    source_url: Annotated[str, Field(max_length=2048)] | None = Field(
        None, description="The page on which the person said so."
    )
    consent_text: Annotated[str, Field(max_length=10_000)] | None = Field(
        None, description="The words that the person agreed to."
    )


class StatusSet(GroupState):
    """A state for up to 50 people. An `external_id` and a `phone`, one of each, mean the same person."""

    external_id: ExternalIds = []
    phone: Phones = []
    email: Emails = []


class GroupPeople(GroupState):
    """A state in one subscription group for some people."""

    external_ids: ExternalIds = []
    phones: Phones = []
    emails: Emails = []


class StatusSetV2(Sent):
    """States in several groups, for up to 50 people in all."""

    subscription_groups: Annotated[list[GroupPeople], Field(min_length=1, max_length=MOST_PEOPLE)]


class UserAlias(Sent):
    """A name under a label. Only the label `phone` is known here, and its names are phone numbers."""

    alias_name: Annotated[str, Field(min_length=1, max_length=255, examples=["+14155550101"])]
    alias_label: Annotated[str, Field(min_length=1, max_length=255, examples=[PHONE_LABEL])]


class NewAlias(UserAlias):
    """An alias, and whose it is to be."""

    external_id: ExternalId | None = None


class AliasesNew(Sent):
    """Up to 50 aliases."""

    user_aliases: Annotated[list[NewAlias], Field(min_length=1, json_schema_extra={"maxItems": MOST_PEOPLE})]


class AliasUpdate(Sent):
    """An alias that gets another name: a person who has another number now."""

    alias_label: Annotated[str, Field(min_length=1, max_length=255, examples=[PHONE_LABEL])]
    old_alias_name: Annotated[str, Field(min_length=1, max_length=255, examples=["+14155550101"])]
    new_alias_name: Annotated[str, Field(min_length=1, max_length=255, examples=["+14155550102"])]


class AliasesUpdate(Sent):
    """Up to 50 changes of aliases."""

    alias_updates: Annotated[list[AliasUpdate], Field(min_length=1, json_schema_extra={"maxItems": MOST_PEOPLE})]


class Identified(Sent):
    """An object about a person, who is named by at least one of the first five keys."""

    external_id: ExternalId | None = None
    user_alias: UserAlias | None = None
    braze_id: str | None = None
    email: str | None = None
    phone: Phone | None = None
    update_existing_only: bool | None = Field(None, alias="_update_existing_only")

    @property
    def named(self) -> bool:
        """Whether it says whom it is about."""
        named = (self.external_id, self.user_alias, self.braze_id, self.email, self.phone)
        return any(name is not None for name in named)


class Attributes(Identified):
    """An attributes object. Other attributes are not kept here."""

    language: str | None = Field(None, description="ISO 639-1, such as `en`.")
    subscription_groups: list[GroupState] | None = None


class CustomEvent(Identified):
    """An event object. Only events that a program has among its `opt_in_events` mean something here."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    time: str = Field(description="ISO 8601.", examples=["2026-02-03T10:00:00Z"])
    app_id: str | None = None
    properties: dict[str, Any] | None = None


def _objects(model: str) -> Any:
    # Each object is judged by itself, so the list may hold anything; the document shows what is meant.
    items = {"anyOf": [{"$ref": f"#/components/schemas/{model}"}, {}]} if model else {}
    return WithJsonSchema({"anyOf": [{"type": "array", "maxItems": MOST_OBJECTS, "items": items}, {"type": "null"}]})


class Track(Sent):
    """Up to 75 objects of each kind. What is wrong with one of them does not stop the others."""

    attributes: Annotated[list[Any] | None, _objects("Attributes")] = None
    events: Annotated[list[Any] | None, _objects("CustomEvent")] = None
    purchases: Annotated[list[Any] | None, _objects("")] = None


class ObjectProblem(Model):
    """What is wrong with an object: its list, and its place there, counted from 0."""

    type: str
    input_array: str
    index: int


class Success(Model):
    """Everything is recorded, but for what `errors` say."""

    message: Literal["success"] = "success"
    errors: list[str] | None = None


class AliasesProcessed(Success):
    """How many aliases were taken."""

    aliases_processed: int


class Tracked(Model):
    """How many objects of each kind were taken; `errors` name the others, and what was left out."""

    message: Literal["success"] = "success"
    attributes_processed: int | None = None
    events_processed: int | None = None
    purchases_processed: int | None = None
    errors: list[ObjectProblem] | None = None


class Statuses(Model):
    """The state of each person, by the id or number asked for."""

    message: Literal["success"] = "success"
    status: dict[str, Literal["Subscribed", "Unsubscribed", "Unknown"]]


class GroupStatus(Model):
    """A person's state in a group. Where several people were asked for, the person is named too."""

    subscription_group_id: str
    subscription_status: Literal["subscribed", "unsubscribed"]
    external_id: str | None = None
    phone: str | None = None


class UserStatus(Model):
    """The groups in which the people ever had a state."""

    success: Literal[True] = True
    subscription_groups: list[GroupStatus]


class Refusal(Model):
    """Why nothing was done, and what to do."""

    message: str
    errors: list[str | ObjectProblem] | None = None


class People(Model):
    """The people that a query asks about. Where an external id is given, the other keys do not count."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    external_id: list[ExternalId] = []
    external_ids: list[ExternalId] = Field([], alias="external_id[]")
    phone: list[Phone] = []
    phones: list[Phone] = Field([], alias="phone[]")
    email: list[Email] = []
    emails: list[Email] = Field([], alias="email[]")


class StatusQuery(People):
    """The query of /subscription/status/get."""

    subscription_group_id: GroupId


class UserStatusQuery(People):
    """The query of /subscription/user/status."""

    limit: int = Field(100, ge=1, le=100, description="The most groups in the answer.")
    offset: int = Field(0, ge=0, le=1_000_000, description="How many groups to leave out before.")
