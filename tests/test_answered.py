"""Who answers a text: the carrier and the network by their own words, keyroute everything else."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from router import registry
from router.answered import AnsweredTexts, answered_texts
from router.ports import TOLL_FREE_ANSWERS, CarrierAnswers, Secret
from router.rules import CustomKeyword, KeywordSet, RuleBook
from router.types import Intent, NumberType

BOOK = RuleBook([KeywordSet("deals", ("en", "fr", "es"), (CustomKeyword("ENDLESS"),))])
KEY = (Secret("0123456789abcdef0123456789abcdef"),)
#: What an account of each carrier with words of its own needs.
OPTIONS: Mapping[str, dict[str, Any]] = {
    "aws_sns": {"topic_arns": ("arn:aws:sns:us-east-1:123456789012:two-way-sms",)},
    "plivo": {"auth_tokens": KEY},
    "sinch_conversation": {"webhook_secrets": KEY, "consent_management": True},
    "telnyx": {"public_keys": ("a1f62af3c72f4cf1a7d4c4d0a1f62af3c72f4cf1a7d4c4d0a1f62af3c72f4cf1",)},
    "twilio": {"auth_tokens": KEY},
    "vonage_sms": {"signature_secrets": KEY, "opt_out_assist": True},
}


def answers(carrier: str, kind: NumberType, country: str | None) -> AnsweredTexts:
    """What the carrier answers on such a number by default."""
    found: Any = registry.carrier(carrier)
    options = found.Options.model_construct(**OPTIONS[carrier])
    made = found.__new__(found)
    made._options = options
    return answered_texts(made.answers_itself(kind, country), network=False)


def left_to(answered: AnsweredTexts, text: str) -> bool:
    """Whether a text is left to somebody else."""
    return answered.answers(BOOK.find("deals", text), text)


@pytest.mark.parametrize(
    ("carrier", "kind", "country", "by_them", "by_us"),
    [
        (
            "twilio",
            "long_code",
            "US",
            ["STOP", "stop", "Stopall", "optout", "REVOKE", "Start", "UNSTOP", "INFO"],
            # YES confirms where keyroute has asked; what Twilio does not know nobody else would answer.
            ["ARRET", "arrêt", "Stop please!!", "STOP DEALS", "stop texting me", "AIDE", "YES", "JOIN", "BAJA"],
        ),
        ("twilio", "toll_free", "US", ["STOP", "arrêt", "start", "UNSTOP", "NONARRET"], ["QUIT", "HELP", "CANCEL"]),
        ("twilio", "short_code", None, [], ["STOP", "START", "HELP"]),
        (
            "aws_sns",
            "long_code",
            "US",
            ["STOP", "Stop please!!", "stop texting me", "cancel my order", "ARRET", "OPT-OUT", "help me", "remove"],
            ["START", "please stop", "AIDE", "stoplight", "ENDLESS", "helpful", "Unsub"],
        ),
        ("aws_sns", "toll_free", "US", ["STOP", "arret", "START", "HELP me"], ["CANCEL", "Stop please!!"]),
        ("plivo", "long_code", "CA", ["STOP", "stop all", "UNSUB", "INFO"], ["START", "ARRET", "Stop it!", "AIDE"]),
        ("plivo", "toll_free", "US", ["STOP", "QUIT", "ARRET", "START", "HELP"], ["AIDE"]),
        ("plivo", "long_code", "GB", [], ["STOP", "HELP"]),
        ("telnyx", "long_code", "GB", ["STOP ALL", "END", "unstop"], ["HELP", "ARRET", "OPTOUT", "SUBSCRIBE"]),
        ("telnyx", "toll_free", "CA", ["END", "ARRET", "NONARRET"], ["HELP"]),
        (
            "sinch_conversation",
            "long_code",
            "SE",
            ["STOP", "stop marketing", "SALIR", "START", "volver notification"],
            ["START now please", "HELP", "QUIT", "BAJA"],
        ),
        # What opts in at Opt-Out Assist is written into each campaign: any keyword may be it.
        ("vonage_sms", "long_code", "US", ["STOP", "END", "HELP", "START", "SUBSCRIBE"], ["ARRET", "INFO", "OPTOUT"]),
        ("vonage_sms", "long_code", "GB", [], ["STOP", "START"]),
    ],
)
def test_a_carrier_answers_its_own_words_and_keyroute_all_others(
    carrier: str, kind: NumberType, country: str | None, by_them: list[str], by_us: list[str]
) -> None:
    found = answers(carrier, kind, country)

    assert [text for text in by_them if not left_to(found, text)] == []
    assert [text for text in by_us if left_to(found, text)] == []


def test_where_the_words_are_not_known_any_keyword_counts_that_stands_alone() -> None:
    found = answered_texts({"opt_out": CarrierAnswers()}, network=False)

    assert [left_to(found, text) for text in ("STOP", "arrêt", "BAJA", "Stop please!!", "HELP", "hello")] == [
        *(True, True, True),
        *(False, False, False),
    ]


@pytest.mark.parametrize(
    ("text", "taken_for"),
    [
        ("STOP", "opt_out"),
        (" stop. ", "opt_out"),
        ("Arrêt", "opt_out"),
        ("START", "opt_in"),
        ("unstop", "opt_in"),
        ("NONARRET", "opt_in"),
        *((text, None) for text in ("QUIT", "stop please", "STOP DEALS", "JOIN", "YES", "HELP", "", "stopall")),
    ],
)
def test_the_network_takes_its_own_words_and_nothing_else(text: str, taken_for: Intent | None) -> None:
    assert answered_texts(TOLL_FREE_ANSWERS, network=True).network(text) == taken_for
    assert answered_texts(TOLL_FREE_ANSWERS, network=False).network(text) is None


def test_a_word_of_the_carriers_is_left_to_it_also_where_it_means_nothing_to_us() -> None:
    unread = replace(BOOK.find("deals", "hello"), rule=None)

    assert answered_texts(TOLL_FREE_ANSWERS, network=False).answers(unread, "STOP")
