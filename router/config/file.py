"""The configuration file: read once, validated as a whole, refused with every problem found in one run."""

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from router import registry
from router.config import checks, number_kinds
from router.config.programs import Keyword, Number, NumberKind, Program, Replies
from router.config.settings import Account, Api, ApiKey, Destination, Ledger, Limits, Server, Settings, Store, Worker
from router.config.toml_lines import Loc, TomlLines
from router.config.values import Table
from router.config.wording import Complaint, complaints, dotted, unknown_key
from router.disposal import empty
from router.errors import AdapterError, ConfigurationError, Problem
from router.ports import Options, Platform

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_SYNTAX_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")

M = TypeVar("M", bound=BaseModel)
Adapter = TypeVar("Adapter")


def load(path: Path) -> Settings:
    """The settings in the file. Raises `ConfigurationError` with all that is wrong with it."""
    source, document = _parse(path)
    reader = _Reader(path)
    settings = reader.settings(document)
    _let_go(document)
    if settings is None or reader.found:
        raise ConfigurationError(str(path), _problems(source, reader.found))
    if reader.doubts:
        return settings.model_copy(update={"warnings": tuple(_problems(source, reader.doubts))})
    return settings


def _problems(source: str, found: Iterable[Complaint]) -> list[Problem]:
    lines = TomlLines(source)
    problems = [Problem(lines.line(c.loc), dotted(c.loc), c.message, c.remedy) for c in found]
    return sorted(problems, key=lambda problem: (problem.line, problem.key))


def _let_go(document: dict[str, Any]) -> None:
    # Only keywords: they are many, and nothing of ours keeps what was read of them. An adapter may keep its own lists.
    programs = document.get("programs")
    for program in programs.values() if isinstance(programs, dict) else ():
        if isinstance(program, dict) and isinstance(keywords := program.get("keywords"), list):
            empty(keywords)


def _parse(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        written = path.read_bytes()
    except OSError as error:
        problem = Problem(
            0, "file", f"cannot be read ({error.strerror}).", "Check the path and the rights of the file."
        )
        raise ConfigurationError(str(path), [problem]) from None
    try:
        source = written.decode("utf-8-sig")
        return source, tomllib.loads(source)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(str(path), [_unparsable(written, error)]) from None


def _unparsable(written: bytes, error: ValueError | RecursionError) -> Problem:
    if isinstance(error, UnicodeDecodeError):
        line = written.count(b"\n", 0, error.start) + 1
        return Problem(line, "file", "is not UTF-8.", "Save the file in the encoding UTF-8.")
    if isinstance(error, RecursionError):
        return Problem(0, "file", "is nested too deeply.", "Take out the lists within lists.")
    place = _SYNTAX_PLACE.search(str(error))
    if not place:
        return Problem(0, "file", "has a number too long to be read.", "Shorten that number, or write it in quotes.")
    line = int(place[1]) if place[1] else max(len(written.splitlines()), 1)
    what = str(error)[: place.start()]
    remedy = "Check quotes, brackets and = on this line and the one above."
    if what.startswith("Cannot"):
        remedy = "The same key or table stands here a second time: remove one of them."
    return Problem(line, "syntax", f"this is not TOML: {what}.", remedy)


class _Reader:
    """Turns tables into models, and goes on after each mistake so that one run finds them all."""

    def __init__(self, path: Path) -> None:
        self.found: list[Complaint] = []
        self.doubts: list[Complaint] = []
        self._path = path
        self._context = {"folder": path.parent}

    def settings(self, document: dict[str, Any]) -> Settings | None:
        """None if any table of the file cannot be used."""
        known = Settings.key_names()
        self.found += [unknown_key((key,), known) for key in document if key not in known]
        server = self._table(Server, document.get("server", {}), ("server",))
        store = self._table(Store, document.get("store", {}), ("store",))
        api = self._api(document.get("api", {}))
        limits = self._table(Limits, document.get("limits", {}), ("limits",))
        worker = self._table(Worker, document.get("worker", {}), ("worker",))
        ledger = self._ledger(document.get("ledger", {}), store or Store())
        accounts = {
            name: self._account(name, written, at, server or Server(), store or Store())
            for name, written, at in self._named(document, "accounts")
        }
        listed = self._named(document, "destinations")
        platforms = {
            name: self._adapter(registry.platform, written.get("platform"), (*at, "platform"))
            for name, written, at in listed
        }
        destinations = {name: self._destination(written, at, platforms[name]) for name, written, at in listed}
        numbers = self._list(Number, document.get("numbers", []), ("numbers",))
        kinds = number_kinds.by_program(numbers)
        programs = {
            name: self._program(name, written, at, platforms, kinds.get(name, frozenset()))
            for name, written, at in self._named(document, "programs")
        }
        self.found += checks.account_names(accounts)
        self.found += checks.programs_exist(programs)
        self.found += checks.group_ids(programs)
        self.found += checks.numbers(numbers, accounts, programs)
        self.found += number_kinds.problems(numbers, programs)
        self.doubts += number_kinds.doubts(numbers, programs)
        if self.found:
            return None
        tables = {"server": server, "store": store, "api": api, "limits": limits, "worker": worker, "ledger": ledger}
        named = {"accounts": accounts, "programs": programs, "destinations": destinations}
        listed_numbers = tuple(number for _, _, number in numbers)
        return Settings.model_validate(
            {"path": self._path, "warnings": (), **tables, **named, "numbers": listed_numbers}
        )

    def _api(self, written: object) -> Api | None:
        if not isinstance(written, dict):
            return self._table(Api, written, ("api",))
        keys = {name: self._table(ApiKey, key, at) for name, key, at in self._named(written, "keys", ("api",))}
        return self._table(Api, written | {"keys": {name: key for name, key in keys.items() if key}}, ("api",))

    def _ledger(self, written: object, store: Store) -> Ledger | None:
        if isinstance(written, dict):
            written = {"url": str((store.data / "ledger").absolute())} | written
        return self._table(Ledger, written, ("ledger",))

    def _account(self, name: str, written: dict[str, Any], at: Loc, server: Server, store: Store) -> Account | None:
        adapter = self._adapter(registry.carrier, written.get("carrier"), (*at, "carrier"))
        options = self._options(adapter.Options, written, at, Account) if adapter else None
        told_by_proxy = written.get("trust_proxy_headers") is True
        public_url = None if told_by_proxy else f"{server.public_url}/in/{name}"
        defaults = {"public_url": public_url, "dedupe_hours": store.dedupe_hours}
        self.found += checks.signed_address(written, at)
        # What is wrong with the other keys is said even if the options cannot be used.
        account = self._table(Account, defaults | _own(Account, written), at, options=options or Options())
        if account and options:
            self.found += checks.urls(account, at)
        return account if options else None

    def _destination(self, written: dict[str, Any], at: Loc, adapter: type[Platform] | None) -> Destination | None:
        options = self._options(adapter.Options, written, at, Destination) if adapter else None
        destination = self._table(Destination, _own(Destination, written), at, options=options or Options())
        if destination and options:
            self.found += checks.urls(destination, at)
        return destination if options else None

    def _program(
        self,
        name: str,
        written: dict[str, Any],
        at: Loc,
        platforms: Mapping[str, type[Platform] | None],
        kinds: frozenset[NumberKind],
    ) -> Program | None:
        """`kinds`: those of the program's numbers."""
        replies = {
            language: self._table(Replies, texts, loc)
            for language, texts, loc in self._entries(written.get("replies", {}), (*at, "replies"))
        }
        listed = self._list(Keyword, written.get("keywords", []), (*at, "keywords"))
        keywords = [(loc, keyword) for loc, _, keyword in listed if keyword]
        destinations: dict[str, Options | None] = {}
        for destination, options, loc in self._entries(written.get("destinations", {}), (*at, "destinations")):
            self.found += checks.destination_exists(destination, platforms, loc)
            if platform := platforms.get(destination):
                destinations[destination] = self._table(platform.ProgramOptions, options, loc)
        own = {key: value for key, value in written.items() if key not in ("replies", "keywords", "destinations")}
        program = self._table(
            Program,
            own
            | {
                "replies": {language: texts for language, texts in replies.items() if texts},
                "keywords": tuple(keyword for _, keyword in keywords),
                "destinations": {name: options for name, options in destinations.items() if options},
            },
            at,
            id=name,
        )
        if program:
            self.found += checks.languages(program, at, replies)
            self.found += checks.replies(program, at, replies, number_kinds.needed(program, kinds))
            self.found += checks.keywords(program, at, keywords)
            self.doubts += checks.doubts(program, at, keywords)
            self.doubts += number_kinds.without_way_out(program, at)
        return program

    def _options(self, model: type[Options], written: dict[str, Any], at: Loc, table: type[Table]) -> Options | None:
        """The adapter's part of a table that it shares with our own keys."""
        rest = {key: value for key, value in written.items() if key not in table.key_names()}
        return self._table(model, rest, at, known=(*table.key_names(), *model.model_fields))

    def _table(
        self, model: type[M], written: object, at: Loc, *, known: Collection[str] = (), **filled: object
    ) -> M | None:
        """`filled`: the fields that do not stand in the file. `known`: the keys to suggest, if not the model's."""
        if not isinstance(written, dict):
            self._not_a_table(at)
            return None
        for key in written.keys() & filled.keys():
            self.found.append(unknown_key((*at, key), known or _names(model, filled)))
        try:
            return model.model_validate(written | filled, context=self._context)
        except ValidationError as error:
            self.found += complaints(error, model, at, known or _names(model, filled))
            return None

    def _list(self, model: type[M], written: object, at: Loc) -> list[tuple[Loc, Any, M | None]]:
        """The tables of a list, each with its place, as written and as read."""
        if not isinstance(written, list):
            self.found.append(Complaint(at, "must be a list of tables.", f"Write [[{dotted(at)}]] above each of them."))
            return []
        places = [((*at, position), entry) for position, entry in enumerate(written)]
        return [(place, entry, self._table(model, entry, place)) for place, entry in places]

    def _named(self, document: dict[str, Any], section: str, within: Loc = ()) -> list[tuple[str, dict[str, Any], Loc]]:
        """The tables of a section that are named by us; a bad name does not keep a table from being checked."""
        tables = []
        for name, written, at in self._entries(document.get(section, {}), (*within, section)):
            if not _NAME.fullmatch(name):
                remedy = "Use 1 to 32 of a-z, 0-9, _ and -, the first a letter or a digit."
                self.found.append(Complaint(at, "is not a name that can be used.", remedy))
            if isinstance(written, dict):
                tables.append((name, written, at))
            else:
                self._not_a_table(at)
        return tables

    def _entries(self, written: object, at: Loc) -> Iterable[tuple[str, Any, Loc]]:
        if not isinstance(written, dict):
            self._not_a_table(at)
            return []
        return [(key, value, (*at, key)) for key, value in written.items()]

    def _not_a_table(self, at: Loc) -> None:
        self.found.append(Complaint(at, "must be a table.", f"Write [{dotted(at)}] and its keys below."))

    def _adapter(self, find: Callable[[str], type[Adapter]], name: object, at: Loc) -> type[Adapter] | None:
        """None if it cannot be used; that a name is missing or no text is found with its table."""
        if not isinstance(name, str):
            return None
        try:
            return find(name)
        except AdapterError as error:
            self.found.append(Complaint(at, error.message, error.remedy))
            return None


def _own(table: type[Table], written: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in written.items() if key in table.key_names()}


def _names(model: type[BaseModel], filled: Collection[str]) -> list[str]:
    return [name for name in model.model_fields if name not in filled]
