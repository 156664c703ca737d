"""Requests read into models. What cannot be read raises `CallRefused` with what is wrong and where."""

from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, ValidationError

from router.bearer import is_json
from router.errors import CallRefused
from router.types import RawRequest

_MOST_SHOWN = 5

M = TypeVar("M", bound=BaseModel)


def read_body(model: type[M], request: RawRequest) -> M:
    """The JSON object in the body."""
    if not is_json(request):
        raise CallRefused("Bad Request: send the body as `Content-Type: application/json`.")
    try:
        written = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise CallRefused("Bad Request: the body is not JSON. Send one JSON object in UTF-8.") from None
    if not isinstance(written, dict):
        raise CallRefused("Bad Request: the body is no JSON object. Send one in braces.")
    return _checked(model, written)


def read_query(model: type[M], request: RawRequest) -> M:
    """The parameters of the query; those that the model has as lists may stand there again and again."""
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.query.decode("latin-1"), keep_blank_values=True):
        given.setdefault(name, []).append(value)
    lists = {field.alias or name for name, field in model.model_fields.items() if field.default == []}
    return _checked(model, {k: v if k in lists or len(v) > 1 else v[0] for k, v in given.items()})


def read_object(model: type[M], written: object) -> M | str:
    """An object among others, or what is wrong with it."""
    try:
        return model.model_validate(written)
    except ValidationError as error:
        return described(error)


def described(error: ValidationError) -> str:
    """What the validator found, with the places of it."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    texts = [_place(finding["loc"]) + finding["msg"] for finding in found[:_MOST_SHOWN]]
    return "; ".join(texts) + (f"; and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else "")


def _place(loc: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, loc))}: " if loc else ""


def _checked(model: type[M], written: dict[str, Any]) -> M:
    try:
        return model.model_validate(written)
    except ValidationError as error:
        raise CallRefused(f"Bad Request: {described(error)}.") from None
