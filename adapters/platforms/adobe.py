"""Adobe Experience Platform by its streaming inlets: consent goes into profiles, texts start journeys.

Consent is a partial update of the profile (an upsert through a dataflow with a mapping), a text is a unitary event of
Journey Optimizer. Both are only queued when Adobe answers. Nobody is created beforehand: a message names its person.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import Field, model_validator

from adapters._access_tokens import AccessTokens
from adapters._http import MISCONFIGURED_PAUSE, HttpUrl, delivery_error, json_body
from adapters._xdm import changed, consent, experience_event, identified
from router.errors import DeliveryError
from router.ports import Http, Options, OptionsType, Secret
from router.types import Event, HttpResponse

#: What one request may hold in bytes, with room for what is around it.
_LARGEST = 950_000
_CONTENT = "application/vnd.adobe.xed-full+json;version=1"
#: What an operator can mend.
_MISCONFIGURED = (401, 403, 404, 501)
_STATUS = re.compile(r"[1-5]\d\d", re.ASCII)


class AdobeOptions(Options):
    """The inlet, and what the messages to it name.

    `inlet` is the id of the streaming connection. An inlet that asks for authentication needs `client_id`,
    `client_secret` and `scopes` of an OAuth server-to-server credential. Consent goes to the dataflow `consent_flow`
    with its dataset, and, where new people are to get an identity, `identity_dataset`; events to those of `event_…`,
    by an `event_inlet` of their own if there is one. `header` is `legacy` for inlets without a dataflow.
    """

    url: HttpUrl = "https://dcs.adobedc.net"
    inlet: Annotated[str, Field(min_length=1)]
    ims_org: Annotated[str, Field(pattern=r"^[^@\s]+@AdobeOrg$")]
    sandbox: str = "prod"
    token_url: HttpUrl = "https://ims-na1.adobelogin.com/ims/token/v3"  # noqa: S105 (no password)
    client_id: str | None = None
    client_secret: Secret | None = None
    scopes: Annotated[tuple[str, ...], Field(strict=False)] = ()
    consent_flow: str | None = None
    consent_dataset: str | None = None
    identity_dataset: str | None = None
    event_inlet: str | None = None
    event_flow: str | None = None
    event_dataset: str | None = None
    event_schema: str | None = None
    header: Literal["flow", "legacy"] = "flow"
    tenant: Annotated[str, Field(pattern=r"^_\w+$")] = "_tenant"
    namespace: Annotated[str, Field(min_length=1)] = "Phone"
    id_specific: bool = False
    batch_size: int = Field(100, ge=1, le=1000)
    requests_at_once: int = Field(8, ge=1, le=64)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("client_id and client_secret go together: write both, or neither for an open inlet")
        if self.client_id and not self.scopes:
            raise ValueError(
                "client_id needs scopes: write those of the credential, without which Adobe gives no token"
            )
        if (self.consent_flow is None) != (self.consent_dataset is None):
            raise ValueError("consent_flow and consent_dataset go together: write both, or neither to send no consent")
        if self.event_dataset and not self.event_schema:
            raise ValueError("event_dataset needs event_schema: the $id of the dataset's schema")
        if self.event_dataset and not self.event_flow and self.header == "flow":
            raise ValueError(
                'event_dataset needs event_flow, the id of its dataflow. Without one, write header = "legacy"'
            )
        if not (self.consent_flow or self.event_dataset):
            raise ValueError(
                "nothing would be sent: write consent_flow and consent_dataset, event_flow, event_dataset and "
                "event_schema, or all of them"
            )
        return self


class AdobeProgramOptions(Options):
    """What a program is in Adobe.

    `event_id` is the one that Journey Optimizer shows in the payload preview of the journey's event; a rule-based event
    has none. `subscription` names an entry of `consents.marketing.sms.subscriptions`; without it, the program's consent
    is that of the channel.
    """

    event_id: str | None = Field(None, min_length=1)
    event_type: str = Field("sms.keyword", min_length=1)
    subscription: str | None = Field(None, min_length=1)


@dataclass(frozen=True, slots=True)
class _Message:
    """One message about the event at `place`. `text` is what its person wrote, and must not be told on."""

    place: int
    body: bytes
    text: str


class Adobe:
    """A sandbox of the Experience Platform."""

    Options: ClassVar[OptionsType] = AdobeOptions
    ProgramOptions: ClassVar[OptionsType] = AdobeProgramOptions
    alias_batch_size = 1
    needs_alias = False
    makes_known = False
    one_per_sender = True

    def __init__(
        self,
        name: str,
        options: AdobeOptions,
        programs: dict[str, tuple[str, AdobeProgramOptions]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.batch_size = options.batch_size
        self.requests_at_once = options.requests_at_once
        self._options = options
        self._programs = {program: own for program, (_, own) in programs.items()}
        self._subscriptions = {program: own.subscription for program, own in self._programs.items() if own.subscription}
        self._clock = clock
        self._tokens = None
        if options.client_id and options.client_secret:
            form = {"grant_type": "client_credentials", "client_id": options.client_id}
            form |= {"client_secret": options.client_secret.reveal(), "scope": ",".join(options.scopes)}
            self._tokens = AccessTokens(options.token_url, form, clock)

    def wants(self, event: Event) -> bool:
        """Whether the event changes a consent or is a text for journeys."""
        return bool(self._values(event)) or self._is_for_journeys(event)

    async def ensure_aliases(self, http: Http, senders: Sequence[str]) -> None:
        """A message names its person: nobody needs to be known beforehand."""

    async def deliver(self, http: Http, events: Sequence[Event]) -> Sequence[DeliveryError | None]:
        """Sends what is to be told of the events in batches; the consent of a person before the person's text."""
        results: list[DeliveryError | None] = [None] * len(events)
        consents = [self._consent(place, event) for place, event in enumerate(events) if self._values(event)]
        await self._send(http, self._options.inlet, consents, results)
        texts = [
            self._event(place, event)
            for place, event in enumerate(events)
            if self._is_for_journeys(event) and results[place] is None
        ]
        await self._send(http, self._options.event_inlet or self._options.inlet, texts, results)
        return results

    def _values(self, event: Event) -> dict[str, str]:
        if not self._options.consent_flow:
            return {}
        return {program: value for program, value in changed(event).items() if program in self._programs}

    def _is_for_journeys(self, event: Event) -> bool:
        decision = event.decision
        if not self._options.event_dataset or decision.program not in self._programs or event.message.kind != "text":
            return False
        idle_confirmation = decision.intent == "confirm" and decision.before == decision.after
        return decision.intent in ("custom", "none") or idle_confirmation

    def _consent(self, place: int, event: Event) -> _Message:
        options = self._options
        body = consent(event, self._values(event), self._subscriptions, options.namespace)
        if options.id_specific:
            identified(event, body, options.namespace)
        operations = {"data": "merge"}
        if options.identity_dataset:
            operations |= {"identity": "create", "identityDatasetId": options.identity_dataset}
        header = {
            "flowId": options.consent_flow,
            "imsOrgId": options.ims_org,
            "datasetId": options.consent_dataset,
            "operations": operations,
        }
        return _Message(place, json_body({"header": header, "body": body}), event.message.text)

    def _event(self, place: int, event: Event) -> _Message:
        options, own = self._options, self._programs[event.decision.program or ""]
        schema = {"id": options.event_schema, "contentType": _CONTENT}
        header: dict[str, Any] = {
            "schemaRef": schema,
            "imsOrgId": options.ims_org,
            "datasetId": options.event_dataset,
            "source": {"name": "keyroute"},
        }
        if options.header == "flow":
            header["flowId"] = options.event_flow
        else:
            header |= {"msgType": "xdmEntityCreate", "msgId": event.id, "msgVersion": "1.0", "xactionId": event.id}
        entity = experience_event(event, own.event_type, own.event_id, options.tenant, options.namespace)
        body = {"xdmMeta": {"schemaRef": schema}, "xdmEntity": entity}
        return _Message(place, json_body({"header": header, "body": body}), event.message.text)

    async def _send(
        self, http: Http, inlet: str, messages: Sequence[_Message], results: list[DeliveryError | None]
    ) -> None:
        """Fills in the results of the events that the messages are about."""
        for batch in _batches(messages):
            await self._post_batch(http, inlet, batch, results)

    async def _post_batch(
        self, http: Http, inlet: str, batch: Sequence[_Message], results: list[DeliveryError | None]
    ) -> None:
        body = b'{"messages":[' + b",".join(message.body for message in batch) + b"]}"
        try:
            response = await self._post(http, f"{self._options.url}/collection/batch/{inlet}", body)
            error = self._failure(response, batch)
        except DeliveryError as failure:
            response, error = None, failure
        if error and error.status in (400, 413) and len(batch) > 1:
            middle = len(batch) // 2
            await self._post_batch(http, inlet, batch[:middle], results)
            await self._post_batch(http, inlet, batch[middle:], results)
            return
        outcomes = [error] * len(batch) if error or response is None else self._outcomes(response, batch)
        for message, outcome in zip(batch, outcomes, strict=True):
            results[message.place] = outcome

    async def _post(self, http: Http, url: str, body: bytes) -> HttpResponse:
        """The answer; where a token is not taken any more, that to a second try with a new one."""
        headers = {"Content-Type": "application/json", "x-sandbox-name": self._options.sandbox}
        if self._tokens is None:
            return await http.request("POST", url, headers=headers, body=body)
        headers |= {"x-api-key": self._options.client_id or "", "x-gw-ims-org-id": self._options.ims_org}
        token = await self._tokens.get(http)
        response = await http.request("POST", url, headers=headers | {"Authorization": f"Bearer {token}"}, body=body)
        if response.status == 401:
            self._tokens.refused(token)
            token = await self._tokens.get(http)
            headers["Authorization"] = f"Bearer {token}"
            response = await http.request("POST", url, headers=headers, body=body)
        return response

    def _failure(self, response: HttpResponse, batch: Sequence[_Message]) -> DeliveryError | None:
        error = _error(response, self._clock(), [message.text for message in batch])
        if error and response.status in _MISCONFIGURED:
            error.retry_after = MISCONFIGURED_PAUSE
        return error

    def _outcomes(self, response: HttpResponse, batch: Sequence[_Message]) -> list[DeliveryError | None]:
        """What became of each message of a batch that was answered."""
        count = len(batch)
        try:
            answer = orjson.loads(response.body)
        except orjson.JSONDecodeError:
            answer = None
        entries = answer.get("responses") if isinstance(answer, dict) else None
        if not isinstance(entries, list) or len(entries) != count:
            if response.status != 207:
                return [None] * count
            reason = "Adobe's answer does not say what became of each message. It is sent again."
            return [DeliveryError(reason, retryable=True, status=207, outcome_unknown=True)] * count
        return [_entry_error(entry, response.request, one.text) for one, entry in zip(batch, entries, strict=True)]

    @staticmethod
    def warnings(options: AdobeOptions, programs: "dict[str, tuple[str, AdobeProgramOptions]]") -> Iterable[str]:
        """What Adobe does with what it is told, and one would not expect."""
        if options.event_dataset:
            yield (
                "Journey Optimizer lets a person into a journey once in five minutes, and may take five minutes to its "
                "first action: of two texts within that time the second starts nothing. Let keyroute answer, and use "
                "the journey for what follows."
            )
        if options.consent_flow:
            yield (
                "where a profile says nothing about consent, Journey Optimizer takes it as given. Load what people "
                "have decided before, or write a consent policy."
            )
            if sum(own.subscription is None for _, own in programs.values()) > 1:
                yield (
                    "several programs share the consent of the channel: an opt-out of one is one of all. Give each a "
                    "subscription if that is not meant."
                )


def _batches(messages: Sequence[_Message]) -> Iterable[list[_Message]]:
    batch: list[_Message] = []
    size = 0
    for message in messages:
        if batch and size + len(message.body) > _LARGEST:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message.body) + 1
    if batch:
        yield batch


def _entry_error(entry: object, request: str, text: str) -> DeliveryError | None:
    """Why a message of a batch was not taken. Without a pause: others of the batch may have been."""
    said: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
    status = str(said.get("statusCode", said.get("status", "")))
    if "xactionId" in said and not _STATUS.fullmatch(status):
        return None
    code = int(status) if _STATUS.fullmatch(status) else 400
    return _error(HttpResponse(code, {}, orjson.dumps(entry), request), None, [text])


def _error(response: HttpResponse, now: float | None, texts: Sequence[str]) -> DeliveryError | None:
    error = delivery_error(response, now, hide=texts)
    if error and response.status in _MISCONFIGURED:
        # Nothing is lost while an operator mends it.
        error.reason = f"{error.reason} Check inlet, sandbox, ims_org, datasets and what the credential may do."
        error.retryable = True
    return error
