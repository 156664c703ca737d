"""What every carrier must do, as two runners: `check_inbound` for each case, `check_hostile` once for each carrier."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import (
    BadPayload,
    BadSignature,
    BodyTooLarge,
    RequestError,
    RouterError,
    SendError,
    StoreUnavailable,
    TooManyFields,
    WrongContentType,
)
from router.ports import Carrier, Parsed
from router.types import Outgoing, RawRequest, SendFailure
from tests.standins.recorder import Recorder

#: Adds to a request the headers by which its carrier proves where it comes from.
Sign = Callable[[RawRequest], RawRequest]

JUNK = ["", " ", "=", ",", "nonsense", "v1,", "é", "١٢٣", "👋", "\x00", "\ud800", "A" * 100_000]
ANY_TEXT = st.text(st.characters())


@dataclass(frozen=True)
class Case:
    """A request and what must come of it: the texts in it, or the error that it gets."""

    label: str
    expected: Sequence[Parsed] | type[RequestError]
    body: bytes = b""
    query: bytes = b""
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    sign: bool = True

    def request(self) -> RawRequest:
        """The request, not signed yet."""
        return RawRequest("acme", self.method, self.query, self.headers, self.body, received_at=1_767_225_600.0)


def check_inbound(carrier: Carrier, case: Case, sign: Sign, private: Sequence[str], *, signed: bool = True) -> None:
    """Runs a case; if its request is authentic, also that a request which differs anywhere is not.

    `private` is what no error may repeat: the secrets, and the numbers and texts in the case. `signed` is false for a
    carrier that shows a password instead of signing: nothing keeps its body and query from being changed.
    """
    request = sign(case.request()) if case.sign else case.request()
    if case.expected is BadSignature:
        check_forged(carrier, request, private)
        return
    carrier.verify(request)
    if not isinstance(case.expected, type):
        assert list(carrier.parse(request)) == list(case.expected)
    else:
        with pytest.raises(case.expected) as raised:
            carrier.parse(request)
        assert raised.type is case.expected
        check_discreet(carrier, raised.value, private)
    for forged in forgeries(request, set(request.headers) - set(case.headers), signed=signed):
        check_forged(carrier, forged, private)


def check_forged(carrier: Carrier, request: RawRequest, private: Sequence[str]) -> None:
    """The request is refused as not authentic."""
    with pytest.raises(BadSignature) as raised:
        carrier.verify(request)
    check_discreet(carrier, raised.value, private)


def check_discreet(carrier: Carrier, error: RouterError, private: Sequence[str]) -> None:
    """Neither the error, nor what is answered to it, nor the carrier's `repr` shows what is private."""
    shown = f"{error} {error!r} {carrier.answer(error)!r} {carrier!r}"
    assert not [text for text in private if text in shown]
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


def forgeries(request: RawRequest, proofs: set[str], *, signed: bool) -> Iterator[RawRequest]:
    """An authentic request, spoilt in each byte of its body and query, if `signed`, and in each header of `proofs`."""
    for body in flipped(request.body if signed else b""):
        yield replace(request, body=body)
    for query in flipped(request.query if signed else b""):
        yield replace(request, query=query)
    for proof in sorted(proofs):
        others = {name: value for name, value in request.headers.items() if name != proof}
        yield replace(request, headers=others)
        for junk in JUNK:
            yield replace(request, headers={**others, proof: junk})


def flipped(data: bytes) -> Iterator[bytes]:
    """The data with one bit turned over, once for each byte."""
    for place, byte in enumerate(data):
        yield data[:place] + bytes([byte ^ 1]) + data[place + 1 :]


def check_hostile(carrier: Carrier, cases: Sequence[Case], sign: Sign) -> None:
    """Whatever arrives: `verify` raises only `BadSignature`, `parse` only `RequestError`; answers do not vary."""
    requests = [sign(case.request()) for case in cases]

    @settings(deadline=None, database=None)
    @given(st.sampled_from(requests).flatmap(mutated))
    def check_parse(request: RawRequest) -> None:
        with suppress(RequestError):
            carrier.parse(request)

    @settings(deadline=None, database=None)
    @given(st.sampled_from(requests).flatmap(rubbish))
    def check_verify(request: RawRequest) -> None:
        with pytest.raises(BadSignature):
            carrier.verify(request)

    @settings(deadline=None, database=None)
    @given(st.lists(ANY_TEXT, max_size=3))
    def check_answer(replies: list[str]) -> None:
        answer = carrier.answer([outgoing(reply) for reply in replies])
        assert answer == carrier.answer([outgoing(reply) for reply in replies])
        assert answer.status // 100 == 2

    check_parse()
    check_verify()
    check_answer()
    for error in (BadSignature, BadPayload, TooManyFields, BodyTooLarge, WrongContentType, StoreUnavailable):
        assert carrier.answer(error("why")) == carrier.answer(error("why"))


def mutated(request: RawRequest) -> st.SearchStrategy[RawRequest]:
    """The request with a stretch of its query and of its body replaced."""
    return st.builds(
        lambda query, body: replace(request, query=query, body=body), spliced(request.query), spliced(request.body)
    )


def spliced(data: bytes) -> st.SearchStrategy[bytes]:
    """The data with a stretch of it replaced by bytes, by any text, or by what divides the parts of a body."""
    place = st.integers(0, len(data))
    text = ANY_TEXT.map(lambda drawn: drawn.encode("utf-8", "surrogatepass"))
    marks = st.lists(st.sampled_from([b"&", b"=", b"%", b"%FF", b"+", b"{", b'"', b"9"]), max_size=6).map(b"".join)
    return st.builds(
        lambda start, length, new: data[:start] + new + data[start + length :], place, place, st.binary() | text | marks
    )


def rubbish(request: RawRequest) -> st.SearchStrategy[RawRequest]:
    """Any bytes, with any text in the place of each header that the request has."""
    return st.builds(
        lambda headers, query, body, method: replace(request, headers=headers, query=query, body=body, method=method),
        st.fixed_dictionaries({}, optional=dict.fromkeys(request.headers, ANY_TEXT)),
        st.binary(),
        st.binary(),
        st.sampled_from(["GET", "POST"]),
    )


def outgoing(text: str = "Hi!", sender: str = "+14155550199", recipient: str = "+14155550101") -> Outgoing:
    """A text to a person."""
    return Outgoing("evt_1", sender, recipient, text, "sms")


@dataclass(frozen=True)
class SendCase:
    """What a carrier answers to `Carrier.send`, and what must come of it: its id of the text, or the failure."""

    label: str
    expected: str | SendFailure
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


async def check_send(
    carrier: Carrier, case: SendCase, message: Outgoing, private: Sequence[str], *, fails: bool
) -> Recorder:
    """Sends a text to a carrier that gives the case's answer; what it was asked. `fails`: `expected` is a failure."""
    http = Recorder(case.status, case.body, case.headers)
    if not fails:
        assert await carrier.send(http, message) == case.expected
        return http
    with pytest.raises(SendError) as raised:
        await carrier.send(http, message)
    assert raised.value.failure == case.expected
    assert not [hidden for hidden in (*private, message.text) if hidden in f"{raised.value} {raised.value!r}"]
    return http
