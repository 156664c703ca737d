"""The keys of a configuration: as the models have them, and as the tables of the documents list them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from router.config.values import Table
from router.ports import Options


def documented_keys(document: str) -> dict[str, str]:
    """Each key in the tables of settings in a document → its default there."""
    return dict(re.findall(r"(?m)^\| `([^`]+)` \| [^|]+ \| ([^|]+) \| \S[^|]*\|$", document))


def keys_of(model: type[BaseModel], place: str) -> dict[str, object]:
    """Each key that a table of the model can have → its default. For options within options: theirs."""
    keys: dict[str, object] = {}
    for name in model.key_names() if issubclass(model, Table) else model.model_fields:
        field = model.model_fields[name]
        inner = options_in(field.annotation)
        if inner is None:
            keys[f"{place}.{name}"] = field.get_default(call_default_factory=True)
        else:
            keys |= keys_of(inner, f"{place}.{name}")
    return keys


def options_in(annotation: Any) -> type[Options] | None:
    """The options that a field of an adapter's options holds, alone or as a list; None for any other field."""
    return next((found for found in types_in(annotation) if issubclass(found, Options)), None)


def types_in(annotation: Any) -> Iterator[type]:
    """The types that occur in an annotation, however deep."""
    if isinstance(annotation, type):
        yield annotation
    for argument in get_args(annotation):
        yield from types_in(argument)


def plain(default: object) -> object:
    """A default as JSON would have it; None if it has none or follows another key."""
    if isinstance(default, tuple):
        return list(default)
    if isinstance(default, Path):
        return str(default)
    return default if isinstance(default, bool | int | float | str) else None
