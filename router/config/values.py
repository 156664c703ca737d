"""The kinds of values that stand in the file, and the table that all others are made of."""

from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from router.network import Private, is_network


def value_error(kind: str, message: str, remedy: str) -> PydanticCustomError:
    """What is wrong with a value, and what to write instead; `kind` names the mistake."""
    # The texts go in as values: a brace in them is not a placeholder.
    return PydanticCustomError(kind, "{message}", {"message": message, "remedy": remedy})


def location(written: object, info: ValidationInfo) -> Path:
    """A path that counts from the folder of the file. Raises what is wrong with it."""
    if not isinstance(written, str | Path) or not str(written).strip():
        raise value_error("path_shape", "must be a path.", 'Write it in quotes, such as "data".')
    return Path((info.context or {}).get("folder", "."), written)


def http_url(written: str) -> str:
    """An address without user, query or blanks. Raises what is wrong with it."""
    try:
        parts = urlsplit(written)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    bare = written.isprintable() and not set(written) & set(" ?#@")
    if not usable or not bare:
        remedy = 'Write it like "https://sms.example.com/keyroute", without user, query or blanks.'
        raise value_error("url_shape", "is not a web address.", remedy)
    return written


Count = Annotated[int, Field(ge=1)]
Url = Annotated[str, AfterValidator(http_url)]
#: A path; a relative one counts from the folder of the configuration file.
Location = Annotated[Path, BeforeValidator(location)]
# A list in the file is a tuple here; only that is converted, what it holds stays strict.
AsTuple = Field(strict=False)


def private_hosts(written: tuple[str, ...]) -> tuple[str, ...]:
    """Names of hosts, addresses, and networks. Raises what is wrong with one."""
    for host in written:
        try:
            Private.of(everywhere=False, hosts=[host])
            usable = (host.isprintable() and not set(host) & set(" @?#:")) or is_network(host)
        except ValueError:
            usable = False
        if not usable or not host:
            remedy = 'Write names such as "crm.internal", addresses, or networks such as "10.1.0.0/16".'
            raise value_error("host_shape", f"has {host!r}, which is no host and no network.", remedy)
    return written


PrivateHosts = Annotated[
    tuple[str, ...],
    AsTuple,
    AfterValidator(private_hosts),
    Field(description="Hosts and networks for which `allow_private` counts, and for no other."),
]


class Table(BaseModel):
    """A table of the file. Unknown keys are errors; values are never coerced."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True, validate_default=True
    )
    #: Fields that do not stand in the table: the reader fills them in.
    filled: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def key_names(cls) -> list[str]:
        """The keys that may stand in the table."""
        return [name for name in cls.model_fields if name not in cls.filled]
