"""What no table of the configuration file can tell alone: whether the tables fit together."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from router._core import fold
from router.config.programs import Keyword, Number, Program, Replies
from router.config.settings import Account, Destination
from router.config.toml_lines import Loc
from router.config.wording import Complaint, dotted, suggestion
from router.consent import ReplyKind
from router.language import LANGUAGES, has_keywords
from router.network import Private, is_public
from router.rules import KeywordSet, conflicts
from router.rules import doubts as keyword_doubts

#: Texts of a neighbour service carry the first in place of an account's name; the second means all accounts.
_RESERVED_ACCOUNTS = ("api", "all")


def account_names(accounts: Collection[str]) -> Iterator[Complaint]:
    """No account may be taken for the neighbour service."""
    for name in _RESERVED_ACCOUNTS:
        if name in accounts:
            yield Complaint(("accounts", name), "is a name that keyroute uses itself.", "Choose another name.")


def programs_exist(programs: Collection[str]) -> Iterator[Complaint]:
    """A file that lost its programs would be a reload that drops every text."""
    if not programs:
        yield Complaint(("programs",), "there is none, so no text leads anywhere.", "Add a table [programs.NAME].")


def group_ids(programs: Mapping[str, Program | None]) -> Iterator[Complaint]:
    """What callers and files name leads to one program only."""
    named = {name: name for name in programs}
    for name, program in programs.items():
        if not program or program.group_id is None:
            continue
        other = named.setdefault(program.group_id, name)
        if other != name:
            message = f"names the program {other} already."
            yield Complaint(("programs", name, "group_id"), message, "Give each program a group_id of its own.")


def numbers(
    entries: Sequence[tuple[Loc, object, Number | None]],
    accounts: Collection[str],
    programs: Mapping[str, Program | None],
) -> Iterator[Complaint]:
    """Each number leads from an account that exists to a program that exists, on each channel to one only."""
    taken: dict[tuple[str, str, str], Loc] = {}
    references: dict[tuple[str, str], tuple[str, Loc]] = {}
    for at, written, number in entries:
        # The names are checked as written: what is wrong with the rest of the entry does not hide them.
        names = written if isinstance(written, dict) else {}
        yield from _reference("account", names.get("account"), accounts, (*at, "account"))
        for place, name in _listed(names.get("program"), (*at, "program")):
            yield from _reference("program", name, programs, place)
        if not number:
            continue
        shared = [found for name in number.program if (found := programs.get(name))]
        if shared:
            first = taken.setdefault((number.account, shared[0].channel, number.number), at)
            yield from _second_use(first, at)
            yield from _sharing(shared, number, at)
        if number.reference:
            other, first = references.setdefault((number.account, number.reference), (number.number, at))
            if other != number.number:
                yield _second_number(first, at)


def _listed(written: object, at: Loc) -> list[tuple[Loc, object]]:
    """A name or the names of a list, each with its place."""
    if isinstance(written, list):
        return [((*at, position), name) for position, name in enumerate(written)]
    return [(at, written)]


def _sharing(programs: Sequence[Program], number: Number, at: Loc) -> Iterator[Complaint]:
    """Programs that share a number can be told apart, and none of them twice."""
    if len(set(number.program)) < len(number.program):
        yield Complaint((*at, "program"), "names a program twice.", "Remove one of them.")
        return
    if len({program.channel for program in programs}) > 1:
        remedy = "Write an entry of [[numbers]] for each channel."
        yield Complaint((*at, "program"), "has programs of different channels.", remedy)
    words: dict[str, str] = {}
    for program in programs:
        own = [word for keyword in program.keywords for word in keyword.words]
        for word in (*own, *program.called, program.id, program.name):
            other = words.setdefault(fold(word), program.id)
            if other != program.id:
                message = f"shares the number between {other} and {program.id}, and “{word}” means both."
                remedy = (
                    f"Give one of them another word, in its keywords or with called = […] in [programs.{program.id}]."
                )
                yield Complaint((*at, "program"), message, remedy)


def _second_use(first: Loc, at: Loc) -> Iterator[Complaint]:
    if first != at:
        message = f"is the number of {dotted(first)} already, for the same account and channel."
        remedy = 'Remove one of the two entries; a number of several programs has a list: program = ["deals", "news"].'
        yield Complaint((*at, "number"), message, remedy)


def _second_number(first: Loc, at: Loc) -> Complaint:
    message = f"is the reference of {dotted(first)} already, for the same account."
    remedy = "Correct one of the two: a text that names only the reference can be for one number only."
    return Complaint((*at, "reference"), message, remedy)


def signed_address(written: Mapping[str, object], at: Loc) -> Iterator[Complaint]:
    """The URL that a carrier signs comes from one place."""
    if written.get("trust_proxy_headers") is True and "public_url" in written:
        message = "does not count where trust_proxy_headers = true reads the URL from the proxy's headers."
        yield Complaint((*at, "public_url"), message, "Remove one of the two.")


def destination_exists(name: str, destinations: Collection[str], at: Loc) -> Iterator[Complaint]:
    """A program sends to what is configured."""
    yield from _reference("destination", name, destinations, at)


def urls(table: Destination | Account, at: Loc) -> Iterator[Complaint]:
    """Texts of people go in the clear, or to this network, only where the file says so."""
    for key, url in table.options:
        if key.rpartition("_")[2] == "url" and isinstance(url, str):
            yield from _url(url, Private.of(table.allow_private, table.private_hosts), (*at, key))


def _url(url: str, private: Private, at: Loc) -> Iterator[Complaint]:
    consent = "set allow_private = true, or name it in private_hosts, if the receiver is in your own network"
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        yield Complaint(at, "is not a web address.", 'Write it like "https://example.com/events".')
        return
    if private.allows(host):
        return
    if url.startswith("http://"):
        yield Complaint(at, "would send what people text unencrypted.", f"Write https://, or {consent}.")
    elif _is_private(host.rstrip(".")):
        yield Complaint(at, "leads into a private network.", f"Write a public address, or {consent}.")


def languages(program: Program, at: Loc, replies: Collection[str]) -> Iterator[Complaint]:
    """Every language is known, stands once, and is one that texts are given for."""
    for position, language in enumerate(program.languages):
        place = (*at, "languages", position)
        if not has_keywords(language):
            yield Complaint(place, "is not a language with keywords.", f"Write one of: {', '.join(LANGUAGES)}.")
        if language in program.languages[:position]:
            yield Complaint(place, "stands twice.", "Remove it here.")
    for language in replies:
        yield from _known_language(language, program, (*at, "replies", language))


def replies(
    program: Program, at: Loc, written: Mapping[str, Replies | None], needed: Iterable[ReplyKind]
) -> Iterator[Complaint]:
    """The program's first language has every text that has to be said. `written`: None for a table with mistakes."""
    first = program.languages[0]
    if first in written and written[first] is None:
        return
    texts = program.reply_texts.get(first, {})
    for kind in needed:
        if kind not in texts:
            place = (*at, "replies", first, kind)
            meaning = Replies.model_fields[kind].description or ""
            remedy = f'Write {kind} = "…" below [{dotted(place[:-1])}]: {meaning[:1].lower()}{meaning[1:]}'
            yield Complaint(place, "is missing.", remedy)


def keywords(program: Program, at: Loc, found: Sequence[tuple[Loc, Keyword]]) -> Iterator[Complaint]:
    """No keyword stands twice, means something else already, or has an answer that nobody gets."""
    places: dict[str, Loc] = {}
    for loc, keyword in found:
        for position, word in enumerate(keyword.words):
            place = (*loc, "words", position)
            first = places.setdefault(fold(word), place)
            if first != place:
                message = f"is the same keyword as {dotted(first)}."
                yield Complaint(place, message, "Remove one of them: case, accents and punctuation make no difference.")
        if keyword.replies and keyword.intent != "custom":
            remedy = 'Put the text into the replies of the program, or remove "intent".'
            yield Complaint((*loc, "replies"), f"is never sent for the intent {keyword.intent}.", remedy)
        for language in keyword.replies:
            yield from _known_language(language, program, (*loc, "replies", language))
    for conflict in conflicts(_known(program)):
        yield Complaint(places[fold(conflict.keyword)], conflict.message, conflict.remedy)


def doubts(program: Program, at: Loc, found: Sequence[tuple[Loc, Keyword]]) -> Iterator[Complaint]:
    """What works, and may not be what was meant."""
    places = {word: (*loc, "words", position) for loc, keyword in found for position, word in enumerate(keyword.words)}
    for doubt in keyword_doubts(_known(program)):
        place = places[doubt.keyword] if doubt.keyword else (*at, "languages")
        yield Complaint(place, doubt.message, doubt.remedy)


def _known(program: Program) -> KeywordSet:
    """What the program listens to, less the languages that do not exist."""
    return replace(program.keyword_set, languages=tuple(filter(has_keywords, program.languages)))


def _known_language(language: str, program: Program, at: Loc) -> Iterator[Complaint]:
    if language not in program.languages:
        remedy = "Add it to the program's languages, or remove these texts."
        yield Complaint(at, "is not a language of the program.", remedy)


def _reference(kind: str, name: object, known: Collection[str], at: Loc) -> Iterator[Complaint]:
    if isinstance(name, str) and name not in known:
        remedy = suggestion(name, known, "Write one of these") if known else f"Add a table [{kind}s.NAME]."
        yield Complaint(at, f"there is no {kind} of this name.", remedy)


def _is_private(host: str) -> bool:
    try:
        return not is_public(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
