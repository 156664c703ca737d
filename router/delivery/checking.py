"""Finds out whether people whom a platform knew are still known there: it drops what is about others without a word."""

import asyncio
from typing import Protocol

import structlog

from router.errors import DeliveryError
from router.ports import ChecksAliases, Http
from router.telemetry import Metrics

_log = structlog.get_logger("router.delivery.checking")


class _Lane(Protocol):
    def forget(self, sender: str) -> None:
        """The sender's alias does not exist any more."""
        ...


class AliasCheck:
    """Checks some of the people about whom events were taken since the last check.

    Whoever has vanished is unknown again, and made known before the next text.
    """

    def __init__(self, name: str, platform: ChecksAliases, http: Http, metrics: Metrics) -> None:
        self._name = name
        self._platform = platform
        self._http = http
        self._metrics = metrics
        self._people: dict[str, _Lane] = {}

    def note(self, sender: str, lane: _Lane) -> None:
        """An event about somebody who is known was taken."""
        if len(self._people) < self._platform.check_size:
            self._people[sender] = lane

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await asyncio.sleep(self._platform.check_every)
            people, self._people = self._people, {}
            if people:
                await self._check(people)

    async def _check(self, people: dict[str, _Lane]) -> None:
        try:
            vanished = await self._platform.vanished(self._http, list(people))
        except DeliveryError as error:
            _log.warning("aliases not checked, tried again", destination=self._name, reason=error.reason)
            return
        if vanished:
            _log.warning("aliases have vanished at the platform", destination=self._name, count=len(vanished))
            self._metrics.vanished_aliases.labels(self._name).inc(len(vanished))
        for sender in vanished:
            if lane := people.get(sender):
                lane.forget(sender)
