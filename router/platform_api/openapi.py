"""The OpenAPI document of the API, made of the models and the table that the API itself works with."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from router._version import VERSION
from router.api import MessageAnswer, MessageBody, MessageProblem
from router.platform_api.models import Attributes, CustomEvent, Refusal
from router.platform_api.operations import OPERATIONS, Operation

_ABOUT = "Consent in the shape of the engagement platform's own API, and decisions about texts."
_REFERENCE = "#/components/schemas/{model}"
_REFUSALS = {
    400: "Something in the request cannot be used; nothing was done.",
    401: "The key is missing or not known.",
    403: "The key lacks the permission.",
    413: "The body is too large.",
    429: "Too many requests: wait until X-RateLimit-Reset.",
    503: "The store is away: nothing is recorded. Send it again.",
}
_HEADERS = {
    "X-RateLimit-Limit": "The most requests of this window.",
    "X-RateLimit-Remaining": "How many are left.",
    "X-RateLimit-Reset": "The end of the window, in unix seconds.",
}

_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key of [api.keys] in the configuration."},
    "token": {"type": "http", "scheme": "bearer", "description": "A token of api.tokens in the configuration."},
}

_Mode = tuple[type[BaseModel], Literal["validation", "serialization"]]
Schemas = Mapping[Any, dict[str, Any]]


def document(server: str) -> bytes:
    """The document as JSON, for the API at the address."""
    bodies = [operation.takes for operation in OPERATIONS if operation.method == "POST"]
    answers = [operation.answers for operation in OPERATIONS]
    taken = _modes([*bodies, MessageBody, Attributes, CustomEvent], "validation")
    given = _modes([*answers, MessageAnswer, MessageProblem, Refusal], "serialization")
    schemas, definitions = models_json_schema(taken + given, ref_template=_REFERENCE)
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    paths["/v1/messages"] = {"post": _messages(schemas)}
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "keyroute", "version": VERSION, "description": _ABOUT},
            "servers": [{"url": server}],
            "paths": paths,
            "components": {"schemas": definitions.get("$defs", {}), "securitySchemes": _SCHEMES},
        }
    )


def _modes(models: Iterable[type[BaseModel]], mode: Literal["validation", "serialization"]) -> list[_Mode]:
    return [(model, mode) for model in dict.fromkeys(models)]


def _operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    named = " or ".join(f"`{permission}`" for permission in operation.permissions)
    limit = f"{operation.limit.requests:,} requests in {operation.limit.seconds:,} seconds"
    described: dict[str, Any] = {
        "summary": operation.summary,
        "description": f"{operation.takes.__doc__} Needs the permission {named}; at most {limit}.",
        "operationId": operation.handle.__name__,
        "security": [{"key": []}],
    }
    if operation.method == "GET":
        described["parameters"] = _parameters(operation.takes)
    else:
        described["requestBody"] = _body(schemas[operation.takes, "validation"])
    success = _content(operation.answers.__doc__, schemas[operation.answers, "serialization"])
    refusal = schemas[Refusal, "serialization"]
    refusals = {str(status): _content(text, refusal) for status, text in _REFUSALS.items()}
    described["responses"] = {
        status: answer | {"headers": _limit_headers()}
        for status, answer in ({str(operation.status): success} | refusals).items()
    }
    return described


def _messages(schemas: Schemas) -> dict[str, Any]:
    problem = schemas[MessageProblem, "serialization"]
    refusals = {status: text for status, text in _REFUSALS.items() if status not in (403, 429)}
    refusals[415] = "The body is not said to be JSON."
    return {
        "summary": "Decide about a text that a neighbour service received",
        "description": MessageBody.__doc__,
        "operationId": "messages",
        "security": [{"token": []}],
        "requestBody": _body(schemas[MessageBody, "validation"]),
        "responses": {"200": _content(MessageAnswer.__doc__, schemas[MessageAnswer, "serialization"])}
        | {str(status): _content(text, problem) for status, text in sorted(refusals.items())},
    }


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _content(text: str | None, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text or "", "content": {"application/json": {"schema": schema}}}


def _limit_headers() -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()}


def _parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The keys of a query, each of which that is a list may stand there again and again."""
    schema = model.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": found.pop("description", found.get("items", {}).get("description", "")),
            "schema": found,
        }
        for name, found in schema["properties"].items()
    ]
