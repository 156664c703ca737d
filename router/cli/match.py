"""`keyroute match`: what texts would be understood to mean, without sending or recording anything."""

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import click
import orjson
from click.core import ParameterSource

from router._core import classify_address
from router.config import load
from router.consent import STATES
from router.language import LANGUAGES, has_keywords
from router.records import read_decision
from router.routing import API_ACCOUNT, Routing
from router.rules import DEFAULT_PROGRAM, NO_MATCH, Explanation, RuleBook
from router.texts import reading
from router.types import Channel, ConsentState, Inbound, NumberType

#: (text, its language if it is known) → the fields of `_NAMES`.
Explain = Callable[[str, str | None], dict[str, object]]
_NAMES = ("intent", "keyword", "argument", "program", "language", "rule", "reply")
_ONLY_WITH_CONFIG = {"to": "--to", "state": "--state"}
_ONLY_WITHOUT = {"languages": "--languages", "number_type": "--number-type"}


@click.command("match")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The configuration file. Without it the built-in keywords are used.",
)
@click.option("--to", "to", metavar="NUMBER", help="The number that the texts are sent to; needs --config.")
@click.option(
    "--state",
    type=click.Choice(STATES),
    default="none",
    show_default=True,
    help="The person's consent, towards all of the number's programs.",
)
@click.option(
    "--languages",
    metavar="TAGS",
    help="Without --config: the number's languages, such as en,fr. All, if not given; English is always understood.",
)
@click.option(
    "--number-type",
    type=click.Choice([*get_args(NumberType), "whatsapp"]),
    default="long_code",
    show_default=True,
    help="Without --config: the kind of number. On a short code, nothing but opt-outs means anything without a text of "
    "the program for it; on WhatsApp, nothing does that is typed.",
)
@click.option("--json-lines", is_flag=True, help='Read {"text", "language"?} a line instead of a text.')
@click.pass_context
def command(
    ctx: click.Context,
    config: Path | None,
    to: str | None,
    state: ConsentState,
    languages: str | None,
    number_type: NumberType | Literal["whatsapp"],
    json_lines: bool,
) -> None:
    """What texts mean: one a line in, one JSON object a line out.

    `layer` and `rule` say how a text was understood, `start` and `end` where in it (in characters), `folded` what was
    compared with the keywords. A line's "language" replaces the number's languages; what else is in it is left aside.
    """
    _refuse_in_vain(ctx, configured=config is not None)
    if config and to:
        explain = _configured(config, to, state)
    elif config:
        raise click.UsageError("Add --to NUMBER: which of the numbers in --config the texts are sent to.")
    else:
        explain = _built_in(tuple(languages.split(",")) if languages else LANGUAGES, number_type)
    for number, line in enumerate(sys.stdin.buffer, 1):
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        language = None
        if json_lines:
            text, language = _read(text, number)
        sys.stdout.buffer.write(orjson.dumps({"text": text} | explain(text, language)) + b"\n")


def _refuse_in_vain(ctx: click.Context, *, configured: bool) -> None:
    """An option that would change nothing is a mistake that should be seen."""
    for name, option in (_ONLY_WITHOUT if configured else _ONLY_WITH_CONFIG).items():
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            other = "Remove it: the number's program decides." if configured else "Add --config FILE, or remove it."
            raise click.UsageError(f"{option} means nothing {'with' if configured else 'without'} --config. {other}")


def _configured(config: Path, to: str, state: ConsentState) -> Explain:
    """What the program of a number would make of texts of a person in that state."""
    kind, recipient = classify_address(to)
    routing = Routing(load(config))
    routes = [routing.find(API_ACCOUNT, channel, recipient) for channel in get_args(Channel)]
    route = next((route for route in routes if route.program), None)
    if kind == "name":
        raise click.BadParameter(f"nobody can text {to!r}. Write one of the numbers in {config}.", param_hint="--to")
    if kind == "malformed" or route is None:
        raise click.BadParameter(f"{to!r} is not among the [[numbers]] of {config}.", param_hint="--to")

    def explain(text: str, _: str | None) -> dict[str, object]:
        inbound = Inbound("", "", recipient, text)
        match = routing.match(route, inbound)
        plan = routing.plan(route, match, reading(route, match, inbound))
        # In the same state towards all of them, the store takes a text to be about the first.
        several = state == "subscribed" and len(plan.consents) > 1 and plan.rows_of_several
        rows = plan.rows_of_several if several else plan.rows
        decision = read_decision(rows[0][STATES.index(state)].decisions[0])
        return {name: getattr(decision, name) for name in _NAMES} | _place(routing.explain(route, text))

    return explain


def _built_in(languages: tuple[str, ...], number_type: NumberType | Literal["whatsapp"]) -> Explain:
    """What the built-in keywords make of texts: those of a line's own language and English, or else the number's."""

    @lru_cache(maxsize=128)
    def book(languages: tuple[str, ...]) -> RuleBook:
        try:
            return RuleBook.default(languages)
        except KeyError as error:
            raise click.BadParameter(f"{error.args[0]}.", param_hint="languages") from None

    def explain(text: str, language: str | None) -> dict[str, object]:
        spoken = tuple(dict.fromkeys((language, "en"))) if language and has_keywords(language) else languages
        known = book(spoken)
        explained = None if number_type == "whatsapp" else known.explain(DEFAULT_PROGRAM, text)
        match = explained.match if explained else NO_MATCH
        rule = match.rule
        deaf = number_type == "short_code" and match.intent != "opt_out"
        return {
            "intent": "none" if deaf else match.intent,
            "keyword": rule.keyword if rule else None,
            "argument": match.argument,
            "program": None,
            "language": rule.language if rule else None,
            "rule": match.name,
            "reply": None,
        } | _place(explained)

    return explain


def _place(explained: Explanation | None) -> dict[str, object]:
    if explained is None:
        return dict.fromkeys(("layer", "start", "end", "folded"))
    return {
        "layer": explained.match.layer,
        "start": explained.start,
        "end": explained.end,
        "folded": explained.folded,
    }


def _read(line: str, number: int) -> tuple[str, str | None]:
    try:
        written = orjson.loads(line)
        text, language = written["text"], written.get("language")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        text = None
    if not isinstance(text, str) or not isinstance(language, str | None):
        raise click.ClickException(f'line {number} of the input is not an object like {{"text": "STOP"}}. Correct it.')
    return text, language
