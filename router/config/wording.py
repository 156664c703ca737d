"""How a mistake in the configuration file is said: the validator's findings in words that a person can act on."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from router.config.toml_lines import Loc
from router.ports import Secret

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

#: Kind of finding → what is wrong, what to do. `{example}` is the setting with a value that fits.
_TEXTS = {
    "missing": ("is missing.", "Add {example}"),
    "string_type": ("must be a text.", "Write it in quotes, such as {example}"),
    "int_type": ("must be a whole number.", "Write it without quotes or a decimal point, such as {example}"),
    "float_type": ("must be a number.", "Write it without quotes, such as {example}"),
    "finite_number": ("must be a finite number.", "Write one such as {example}"),
    "bool_type": ("must be true or false.", "Write it without quotes, such as {example}"),
    "tuple_type": ("must be a list.", "Write it in [ ], such as {example}"),
    "list_type": ("must be a list.", "Write it in [ ], such as {example}"),
    "dict_type": ("must be a table.", "Write it as a table of its own, with its keys below."),
    "mapping_type": ("must be a table.", "Write it as a table of its own, with its keys below."),
    "model_type": ("must be a table.", "Write it as a table of its own, with its keys below."),
    "literal_error": ("is none of the values that there are.", "Write one of {expected}."),
    "greater_than": ("is too small.", "Write more than {gt}."),
    "greater_than_equal": ("is too small.", "Write {ge} or more."),
    "less_than": ("is too large.", "Write less than {lt}."),
    "less_than_equal": ("is too large.", "Write {le} or less."),
    "too_short": ("has too few entries.", "Write at least {min_length}, such as {example}"),
    "too_long": ("has too many entries.", "Write at most {max_length}."),
    "string_too_short": ("is too short.", "Write at least {min_length} character(s)."),
    "string_too_long": ("is too long.", "Write at most {max_length} characters."),
    "string_pattern_mismatch": ("has characters that do not belong there.", "Write what fits the pattern {pattern}"),
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something wrong at a place in the document, whose line is not yet known."""

    loc: Loc
    message: str
    remedy: str


def complaints(error: ValidationError, model: type[BaseModel], at: Loc, known: Collection[str]) -> Iterator[Complaint]:
    """Says what the validator found in the table at `at`, whose keys can be those in `known`."""
    found = error.errors(include_url=False, include_input=False)
    places = [finding["loc"] for finding in found]
    for finding in found:
        loc = finding["loc"]
        # A list with a bad entry is also found to be too short; that entry says it better.
        if finding["type"] == "too_short" and any(place[: len(loc)] == loc != place for place in places):
            continue
        if finding["type"] == "extra_forbidden":
            yield unknown_key((*at, *loc), known if len(loc) == 1 else ())
        else:
            yield Complaint((*at, *loc), *_words(finding, model))


def unknown_key(loc: Loc, known: Collection[str]) -> Complaint:
    """A key that no setting has."""
    if not known:
        return Complaint(loc, "is not a setting.", "Remove it.")
    return Complaint(loc, "is not a setting.", suggestion(str(loc[-1]), known, "Remove it, or write one of these"))


def suggestion(written: str, known: Collection[str], otherwise: str) -> str:
    """The remedy for a name that does not exist: the nearest one that does, or else all of them."""
    nearest = get_close_matches(written.lower(), known, n=1)
    if nearest:
        return f'Did you mean "{nearest[0]}"?'
    return f"{otherwise}: {', '.join(sorted(known))}."


def dotted(loc: Loc) -> str:
    """The place as a person would write it, `numbers[0].type`; positions count from 0."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += "." * bool(text) + (part if _BARE_KEY.fullmatch(part) else json.dumps(part))
    return text


def _words(finding: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    details = finding.get("ctx", {})
    if finding["type"] in _TEXTS:
        message, remedy = _TEXTS[finding["type"]]
        details = {name: str(value).replace("'", '"') for name, value in details.items()}
        return message, remedy.format(**details, example=_example(model, finding["loc"]))
    message = finding["msg"].removeprefix("Value error, ")
    if "remedy" in details:
        return message, str(details["remedy"])
    if not finding["loc"]:
        return message, "Change the keys of this table until they fit together."
    return message, f"Write it like {_example(model, finding['loc'])}"


def _example(model: type[BaseModel], loc: Loc) -> str:
    """`key = value` with a value of the right kind."""
    key = str(loc[0])
    field = model.model_fields.get(key)
    if field is None:
        value = "…"
    elif field.examples:
        value = json.dumps(field.examples[0], ensure_ascii=False)
    elif isinstance(field.default, bool | int | float | str):
        value = json.dumps(field.default, ensure_ascii=False)
    else:
        value = _sample(field.annotation)
    return f"{key} = {value}"


def _sample(annotation: Any) -> str:
    """A value of the type, as TOML."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, Union, UnionType):
        return _sample(arguments[0])
    if origin in (list, tuple):
        return f"[{_sample(arguments[0])}]"
    if origin in (dict, Mapping):
        return f"{{ NAME = {_sample(arguments[1])} }}"
    return {Secret: '"env:NAME"', bool: "true", int: "1", float: "1.0"}.get(annotation, '"…"')
