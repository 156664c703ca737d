"""What people can text to, and what they are told: the tables of numbers and programs."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from router._core import REGIONS, NumberParseError, classify_address, fold, normalize
from router.config.values import AsTuple, Table, value_error
from router.consent import OptInMode, OptOutScope, ReplyKind
from router.ports import Options
from router.rules import CustomKeyword, Doubtful, KeywordSet, Layer
from router.types import NumberType

_SENDER_NAME = re.compile(r"[A-Za-z0-9 ]{1,11}")


def _layer(written: Layer) -> Layer:
    if written == "keyword":
        raise value_error(
            "layer_needed", "cannot be turned off.", "Remove it: a keyword that stands alone always counts."
        )
    return written


def _names(written: object) -> object:
    return (written,) if isinstance(written, str) else written


def _number(written: str) -> str:
    kind, address = classify_address(written)
    if kind in ("phone", "short_code"):
        if address == written:
            return written
        doubt = "" if "+" in written else " if its country code is there, else put that in front"
        raise value_error("number_form", "is not written in E.164.", f'Write "{address}"{doubt}.')
    if kind == "name" and _SENDER_NAME.fullmatch(address):
        if address == written:
            return written
        raise value_error("number_form", "has blanks around it.", f'Write "{address}".')
    remedy = (
        'Write it in E.164, such as "+14155550199", as a short code of 3 to 6 digits, such as "20202", or as the name '
        'that texts are sent from, 1 to 11 of A-Z, a-z, 0-9 and blanks, such as "Acme Deals".'
    )
    raise value_error("number_form", "is neither a phone number nor a short code nor a name to send from.", remedy)


def _region(written: str) -> str:
    if written not in REGIONS:
        raise value_error("country", "is not a country.", 'Write its two capital letters, such as "CA" or "GB".')
    return written


def country_of(number: str) -> str | None:
    """The region of a number; None for a short code, a name, and a number that no numbering plan has."""
    try:
        return normalize(number).region if number.startswith("+") else None
    except NumberParseError:
        return None


def _text(written: str) -> str:
    if not written.strip():
        raise value_error("blank", "is blank.", "Write the text that people get, or remove the key.")
    return written


def _word(written: str) -> str:
    if not fold(written):
        raise value_error("blank", "has nothing in it that a person could text.", "Write a word, or remove it.")
    return written


#: An alphanumeric number is a name: texts are sent from it, and none arrives.
NumberKind = Literal[NumberType, "alphanumeric"]
Text = Annotated[str, AfterValidator(_text), Field(max_length=1600)]
Word = Annotated[str, AfterValidator(_word), Field(max_length=160)]


class Number(Table):
    """A number that people text to, or a name that texts are sent from."""

    number: Annotated[str, AfterValidator(_number)] = Field(
        examples=["+14155550199"],
        description="E.164 with `+`, a short code of 3 to 6 digits, or a name that texts are sent from.",
    )
    account: str = Field(examples=["NAME"], description="The account that its texts come from.")
    type: NumberKind = Field(examples=["long_code"], description="What kind of number it is.")
    program: Annotated[tuple[str, ...], BeforeValidator(_names), AsTuple] = Field(
        min_length=1,
        examples=["alerts"],
        description="The program that its texts belong to; a list for several, of which START alone means the first.",
    )
    country: Annotated[str, AfterValidator(_region)] | None = Field(
        None, description="Of a short code or a name, two letters: its rules and rates. A phone number tells its own."
    )
    way_out: Text | None = Field(
        None, description="Of a name: what people do to opt out, as they cannot text it (`STOP to 36111`)."
    )
    opt_out_scope: OptOutScope = Field(
        "program",
        description="What an opt-out ends at least: the `program` it names, all of the `number`, `account`, or `all`.",
    )
    reference: str | None = Field(
        None, min_length=1, description="What the carrier calls the number where its webhooks do not name it."
    )
    carrier_answers: Annotated[tuple[Literal["opt_out", "opt_in", "help"], ...], AsTuple] | None = Field(
        None,
        description="What the carrier itself answers here, if not what it does by default: keyroute stays silent.",
    )
    texts_per_second: float | None = Field(
        None, gt=0, description="How many texts the number may send, if the carrier has agreed to another rate."
    )


class Replies(Table):
    """What a program answers in one language."""

    opt_in: Text | None = Field(None, description="Welcome, when somebody has subscribed.")
    prompt: Text | None = Field(None, description="Question of a double opt-in.")
    opt_out: Text | None = Field(None, description="The one confirmation of an opt-out.")
    choice: Text | None = Field(
        None, description="The same for a number of several programs, with the question which to keep (`KEEP DEALS`)."
    )
    help: Text | None = Field(None, description="Answer to HELP.")
    none: Text | None = Field(None, description="Answer to what matched nothing; silence if not set.")
    doubtful: Text | None = Field(None, description='Question to who may have opted out, for doubtful = "ask".')


class Keyword(Table):
    """A program's own keyword."""

    words: Annotated[tuple[Word, ...], AsTuple] = Field(
        min_length=1, examples=[["COUPONS", "COUPON"]], description="The keyword and its other spellings."
    )
    intent: Literal["custom", "opt_in", "opt_out", "help", "confirm"] = Field("custom", description="What it means.")
    anywhere: bool = Field(False, description="Whether it counts between other words too, wherever it stands.")
    replies: Mapping[str, Text] = Field({}, description="Answer by language, for the intent `custom`.")


class Program(Table):
    """One purpose with one consent state per person. `destinations`: name → what the program tells that platform."""

    filled: ClassVar[frozenset[str]] = frozenset({"id"})

    id: str
    name: str = Field(min_length=1, examples=["Weekly deals"], description="What platforms call the program.")
    group_id: str | None = Field(
        None,
        min_length=1,
        description="What callers of the API and CSV files call it (`subscription_group_id`), beside its id.",
    )
    channel: Literal["sms", "whatsapp"] = Field("sms", description="`sms` takes MMS and RCS too.")
    purpose: Literal["marketing", "transactional"] = Field(
        "marketing", description="Whether it is meant where people refuse marketing messages alone."
    )
    languages: Annotated[tuple[str, ...], AsTuple] = Field(
        ("en",), min_length=1, description="Languages of its people; the first answers where a language has no text."
    )
    opt_in: OptInMode = Field(
        "single",
        description="Whether START subscribes, or asks for a YES first (`double`), or does both (`subscribe_first`).",
    )
    confirm_within_days: int = Field(30, ge=1, le=365, description="How long that YES may take.")
    opt_in_events: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=255)], ...], AsTuple] = Field(
        (), description="Custom events of `/users/track` that subscribe a person, such as `phone_number_captured`."
    )
    choose_within_hours: int = Field(
        24, ge=1, le=720, description="How long somebody who was asked which programs to keep may name one."
    )
    called: Annotated[tuple[Word, ...], AsTuple] = Field(
        (),
        description="What else people call it behind STOP or START on a shared number, beside its id and name.",
    )
    reserved_words: bool | None = Field(
        None,
        description="Whether STOP, START, HELP and YES count when typed: if not set, on SMS, and not on WhatsApp.",
    )
    doubtful: Doubtful = Field(
        "opt_out", description="What may be an opt-out: is one, is asked about once a day, or left alone."
    )
    layers_off: Annotated[tuple[Annotated[Layer, AfterValidator(_layer)], ...], AsTuple] = Field(
        (), description="Ways of understanding that are not used: names of layers."
    )
    replies: Mapping[str, Replies] = Field({}, description="Texts by language; see below.")
    keywords: tuple[Keyword, ...] = Field((), description="Keywords of its own; see below.")
    destinations: Mapping[str, Options] = Field({}, description="Where its events go; see below.")

    @cached_property
    def keyword_set(self) -> KeywordSet:
        """What the program listens to."""
        custom = [
            CustomKeyword(word, keyword.intent, keyword.replies, keyword.anywhere)
            for keyword in self.keywords
            for word in keyword.words
        ]
        reserved = self.channel == "sms" if self.reserved_words is None else self.reserved_words
        off = frozenset(self.layers_off)
        return KeywordSet(self.id, self.languages, tuple(custom), off, self.doubtful, reserved=reserved)

    @property
    def reply_texts(self) -> dict[str, dict[ReplyKind, str]]:
        """language → kind of reply → text, of those that are set."""
        kinds: tuple[ReplyKind, ...] = ("opt_in", "prompt", "opt_out", "choice", "help", "none", "doubtful")
        return {
            language: {kind: text for kind in kinds if (text := getattr(replies, kind)) is not None}
            for language, replies in self.replies.items()
        }
