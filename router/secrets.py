"""Secrets: read from where the configuration says they are, and never shown."""

import os
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Secret:
    """A secret read from `env:NAME` or `file:PATH`; never shows itself in `repr`, logs or errors.

    A relative PATH counts from the folder of the configuration file.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(cls._read)

    @classmethod
    def _read(cls, written: object, info: ValidationInfo) -> "Secret":
        if isinstance(written, Secret):
            return written
        scheme, _, place = written.partition(":") if isinstance(written, str) else ("", "", "")
        if scheme == "env" and place:
            value = os.environ.get(place, "")
            if not value:
                raise PydanticCustomError(
                    "secret_missing",
                    "the environment variable {name} is not set.",
                    {"name": place, "remedy": f"Set {place} before you start keyroute."},
                )
            return cls(value)
        if scheme == "file" and place:
            folder = (info.context or {}).get("folder", ".")
            path = Path(folder, place)
            try:
                value = path.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise PydanticCustomError(
                    "secret_missing",
                    "the secret file {path} cannot be read ({why}).",
                    {
                        "path": str(path),
                        "why": type(error).__name__,
                        "remedy": f"Write the secret into {path}.",
                    },
                ) from None
            if not value:
                raise PydanticCustomError(
                    "secret_missing",
                    "the secret file {path} is empty.",
                    {"path": str(path), "remedy": f"Write the secret into {path}."},
                )
            return cls(value)
        # The written value is not repeated here: it may be the secret itself.
        raise PydanticCustomError(
            "secret_inline",
            "a secret cannot stand in the configuration file.",
            {"remedy": 'Write "env:NAME" or "file:PATH" and keep the secret there.'},
        )
