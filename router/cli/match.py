"""`keyroute match`: what texts would be understood to mean, without sending or recording anything."""

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import get_args

import click
import orjson

from router._core import classify_address
from router.config import load
from router.consent import STATES
from router.decide import intended
from router.language import LANGUAGES
from router.routing import API_ACCOUNT, Routing
from router.rules import DEFAULT_PROGRAM, RuleBook
from router.types import Channel, ConsentState, Inbound, NumberType

#: (text, its language if it is known) → the fields of `_NAMES`.
Explain = Callable[[str, str | None], dict[str, object]]
_NAMES = ("intent", "keyword", "argument", "program", "language", "rule", "reply")


@click.command("match")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The configuration file. Without it the built-in keywords are used.",
)
@click.option("--to", "to", metavar="NUMBER", help="The number that the texts are sent to; needs --config.")
@click.option("--state", type=click.Choice(STATES), default="none", show_default=True, help="The person's consent.")
@click.option("--languages", default=",".join(LANGUAGES), help="Without --config: the number's languages, as en,fr.")
@click.option("--number-type", type=click.Choice(get_args(NumberType)), default="long_code", show_default=True)
@click.option("--json-lines", is_flag=True, help='Read {"text", "language"?, "to_type"?} a line instead of a text.')
def command(
    config: Path | None, to: str | None, state: ConsentState, languages: str, number_type: NumberType, json_lines: bool
) -> None:
    """Read texts from standard input, one a line; write one JSON object a line."""
    if (config is None) != (to is None):
        raise click.UsageError("Give --config and --to together, or neither.")
    explain = _configured(config, to, state) if config and to else _built_in(tuple(languages.split(",")))
    for number, line in enumerate(sys.stdin.buffer, 1):
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        language = None
        if json_lines:
            text, language = _read(text, number)
        sys.stdout.buffer.write(orjson.dumps({"text": text} | explain(text, language)) + b"\n")


def _configured(config: Path, to: str, state: ConsentState) -> Explain:
    """What the program of a number would make of texts of a person in that state."""
    kind, recipient = classify_address(to)
    routing = Routing(load(config))
    routes = [routing.find(API_ACCOUNT, channel, recipient)[1] for channel in get_args(Channel)]
    route = next((route for route in routes if route.policy.program), None)
    if kind == "malformed" or route is None:
        raise click.BadParameter(f"{to!r} is not among the [[numbers]] of {config}.", param_hint="--to")

    def explain(text: str, _: str | None) -> dict[str, object]:
        match = routing.match(route, Inbound("", "", recipient, text))
        row = routing.rows(route, match, None, person=True)[STATES.index(state)]
        decision = orjson.loads(row.decision)
        return {name: decision[name] for name in _NAMES}

    return explain


def _built_in(languages: tuple[str, ...]) -> Explain:
    """What the built-in keywords make of texts; a line's own language and English go before the number's."""

    @lru_cache(maxsize=128)
    def book(languages: tuple[str, ...]) -> RuleBook:
        try:
            return RuleBook.default(languages)
        except KeyError as error:
            raise click.BadParameter(str(error.args[0]), param_hint="--languages") from None

    def explain(text: str, language: str | None) -> dict[str, object]:
        spoken = tuple(dict.fromkeys((language, "en"))) if language else languages
        match = book(spoken).find(DEFAULT_PROGRAM, text)
        rule = match.rule
        return {
            "intent": intended(match, None),
            "keyword": rule.keyword if rule else None,
            "argument": match.argument,
            "program": None,
            "language": rule.language if rule else None,
            "rule": rule.name if rule else None,
            "reply": None,
        }

    return explain


def _read(line: str, number: int) -> tuple[str, str | None]:
    try:
        written = orjson.loads(line)
        text, language = written["text"], written.get("language")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        text = None
    if not isinstance(text, str) or not isinstance(language, str | None):
        raise click.ClickException(f'line {number} of the input is not an object like {{"text": "STOP"}}. Correct it.')
    return text, language
