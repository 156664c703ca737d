"""How a carrier shows who it is where it need not sign: a password, a fixed header, a token, or nothing at all."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

from pydantic import Field
from pydantic_core import PydanticCustomError

from adapters._requests import check_basic, check_secret, form_fields
from router.errors import BadSignature, TooManyFields
from router.ports import Options, Secret
from router.types import RawRequest

#: A proof: raises `BadSignature` for a request that does not have it.
Check = Callable[[RawRequest], None]


class BasicCredentials(Options):
    """A user and password that the carrier presents."""

    user: Annotated[str, Field(min_length=1)]
    password: Secret


class FixedHeader(Options):
    """A header that the carrier sends along with every request."""

    name: Annotated[str, Field(min_length=1)]
    value: Secret


class CallerOptions(Options):
    """The keys of an account by which requests are known as the carrier's. Of several proofs, any one is enough.

    `basic` are users with passwords, `headers` are fixed headers with their values; of either kind there can be two
    while one is changed. `unauthenticated` takes whatever arrives: for where something before keyroute lets only the
    carrier through, by its addresses or its certificate.
    """

    basic: Annotated[tuple[BasicCredentials, ...], Field(strict=False)] = ()
    headers: Annotated[tuple[FixedHeader, ...], Field(strict=False)] = ()
    unauthenticated: bool = False


def require_proof(options: CallerOptions, *more: object) -> None:
    """Refuses the options of an account that takes requests from anybody without saying so. `more`: other proofs."""
    if not (options.basic or options.headers or options.unauthenticated or any(more)):
        raise PydanticCustomError(
            "no_proof",
            "has nothing by which a request is known as the carrier's.",
            {"remedy": "Write a secret that the carrier shows or signs with, or unauthenticated = true."},
        )


def caller_checks(options: CallerOptions) -> list[Check]:
    """The proofs that the options speak of, but for signatures."""
    checks: list[Check] = [_header_check(header) for header in options.headers]
    if options.basic:
        credentials = [(known.user, known.password.reveal()) for known in options.basic]
        checks.append(lambda request: check_basic(request, credentials))
    if options.unauthenticated:
        checks.append(lambda request: None)
    return checks


def token_check(name: str, tokens: Sequence[Secret]) -> Check:
    """The proof by a parameter of the query that is one of the tokens."""
    known = [token.reveal() for token in tokens]

    def check(request: RawRequest) -> None:
        try:
            given = form_fields(request.query).get(name, "")
        except TooManyFields as error:
            raise BadSignature(str(error)) from None
        check_secret(given, known, name)

    return check


def check_any(request: RawRequest, checks: Iterable[Check]) -> None:
    """Raises `BadSignature` unless the request has one of the proofs."""
    found = []
    for check in checks:
        try:
            check(request)
        except BadSignature as error:
            found.append(error)
        else:
            return
    if len(found) == 1:
        raise found[0]
    raise BadSignature("The request has none of the proofs that this account asks for. Check them on both sides.")


def _header_check(header: FixedHeader) -> Check:
    name, value = header.name.lower(), header.value.reveal()
    return lambda request: check_secret(request.headers.get(name, ""), [value], header.name)
