"""A watch over every text that leaves: nobody who has opted out is texted, but for the one confirmation and for HELP.

Python imports a module of this name when it starts, if it stands on its path: so the servers that tests start are
watched too. What is seen goes, a line for each text, into the file that the environment variable KEYROUTE_WATCH names.
The question is put to the decision and to the store, not to the code that is watched.
"""

import json
import os
import sys
import time
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FILE = "KEYROUTE_WATCH"
OUT = ("unsubscribed", "choosing")
#: In a server, a text may be on its way out while the opt-out comes in, in seconds.
_ON_ITS_WAY = 2.0
_MOST_SHARDS = 8


def wrong(intent: str, before: str, after: str, stored: str | None) -> str | None:
    """What is wrong with a text that leaves, if anything. `stored` is the person's state in the store, if it tells."""
    if intent == "help":
        return None
    if intent == "opt_out":
        return "an opt-out is confirmed again" if before in OUT else None
    if after in OUT:
        return "the decision says that the person has opted out"
    return "the store says that the person has opted out" if stored in OUT else None


def stored_state(fields: Mapping[str, str], names: Iterable[str], *, before: float | None = None) -> str | None:
    """The state that was written last under any of the names, if that is known, and was so `before` a time."""
    found = [fields[f"consent:{name}"].split(" ") for name in names if f"consent:{name}" in fields]
    if not found:
        return None
    state, times = max(found, key=lambda kept: int(kept[1].partition(":")[0]))
    since = int(times.partition(":")[0]) / 1e6
    return state if before is None or since < before else None


class Watch:
    """The hook of one process. `stores`: the addresses of stores where it looks, under `prefix`, what is known."""

    def __init__(self, *, grace: float | None = None) -> None:
        """`grace`: how long a state must have held to count, in seconds; None if the clock is not the real one."""
        self.stores: dict[str, Any] = {}
        self.prefix: str | None = None
        self.faults: list[str] = []
        self._grace = grace
        self._away: tuple[type[Exception], ...] = (OSError,)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """What Python calls for whatever is audited."""
        if event != "keyroute.send" or FILE not in os.environ:
            return
        _, account, number, person, program, intent, before, after, _ = arguments
        fault = wrong(intent, before, after, self._stored(person, (program, f"@{account}", "@all")))
        line = json.dumps({"number": number, "program": program, "intent": intent, "fault": fault})
        with open(os.environ[FILE], "a") as file:
            file.write(line + "\n")
        if fault:
            self.faults.append(line)

    def close(self) -> None:
        """Lets go of the stores."""
        for store in self.stores.values():
            store.close()
        self.stores.clear()

    def _stored(self, person: str, names: tuple[str, ...]) -> str | None:
        if self.prefix is None:
            return None
        before = None if self._grace is None else time.time() - self._grace
        for store in self.stores.values():
            for shard in range(_MOST_SHARDS):
                try:
                    fields = store.hgetall(f"{self.prefix}:{{{shard}}}:person:{person}")
                except self._away:  # tests stop stores and start them again
                    continue
                if fields:
                    return stored_state(fields, names, before=before)
        return None

    def look_into(self, url: str, prefix: str) -> None:
        """Asks that store from now on."""
        # Imported so late because every Python that a test starts comes by here.
        from redis import Redis  # noqa: PLC0415
        from redis.exceptions import RedisError  # noqa: PLC0415

        self.prefix, self._away = prefix, (OSError, RedisError)
        if url not in self.stores:
            self.stores[url] = Redis.from_url(url, decode_responses=True, socket_timeout=0.5)


class _OfServer(Watch):
    """The hook of a server: it finds out where the store is when the first text leaves."""

    def _stored(self, person: str, names: tuple[str, ...]) -> str | None:
        if self.prefix is None and "--config" in sys.argv:
            self._find(Path(sys.argv[sys.argv.index("--config") + 1]))
        return super()._stored(person, names)

    def _find(self, config: Path) -> None:
        from router.embedded import EmbeddedServer  # noqa: PLC0415 (as above)

        store = tomllib.loads(config.read_text()).get("store", {})
        url = store.get("url", "embedded")
        if url == "embedded":
            url = EmbeddedServer(config.parent / store.get("data", "data")).url
        self.look_into(url, store.get("prefix", "keyroute"))


def seen(file: Path) -> tuple[int, list[str]]:
    """How many texts were watched, and what was wrong."""
    lines = file.read_text().splitlines()
    return len(lines), [line for line in lines if json.loads(line)["fault"]]


if FILE in os.environ and __name__ == "sitecustomize":
    sys.addaudithook(_OfServer(grace=_ON_ITS_WAY))
