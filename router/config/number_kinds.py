"""What the kind of a number asks of its entry and of its programs: by how it works, and by the rules of its country.

Sources: the CTIA handbook for short codes of the US; the CWTA guidelines for those of Canada, on mandatory keywords;
French practice, where a text that is sent from a name gives a number to send STOP to.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from router.config.programs import Number, NumberKind, Program, country_of
from router.config.toml_lines import Loc
from router.config.wording import Complaint, dotted
from router.consent import ReplyKind

#: An entry of [[numbers]]: its place, as written, as read.
Entry = tuple[Loc, object, Number | None]

#: What a Canadian short code answers, and in how many characters.
_SAID_IN_CANADA: tuple[ReplyKind, ...] = ("opt_out", "help", "none")
_LONGEST_IN_CANADA = 160
#: What of a way out people need: where to write to, to look at, or to text to.
_ADDRESS = re.compile(r"https?://\S+|\S+@\S+|\+?[0-9]{3,}")


def by_program(entries: Sequence[Entry]) -> dict[str, frozenset[NumberKind]]:
    """The kinds of the numbers of each program; an entry that cannot be used is taken for a long code."""
    found: dict[str, frozenset[NumberKind]] = {}
    for _, written, number in entries:
        names = written.get("program") if isinstance(written, dict) else None
        kind: NumberKind = number.type if number else "long_code"
        for name in names if isinstance(names, list) else [names]:
            if isinstance(name, str):
                found[name] = found.get(name, frozenset()) | {kind}
    return found


def needed(program: Program, kinds: frozenset[NumberKind]) -> Iterator[ReplyKind]:
    """The texts that a program with numbers of these kinds must have; one without any may be given one any time.

    On a short code, what has no text is not understood, but for opt-outs. To a name, nobody can say anything.
    """
    if not kinds or kinds & {"long_code", "toll_free"}:
        yield "opt_in"
        yield "help"
        if program.opt_in == "double":
            yield "prompt"
    if kinds != {"alphanumeric"}:
        yield "opt_out"
        if program.doubtful == "ask":
            yield "doubtful"


def problems(entries: Sequence[Entry], programs: Mapping[str, Program | None]) -> Iterator[Complaint]:
    """What keeps a number from working as the kind that it is said to be."""
    numbers = [(at, number) for at, _, number in entries if number]
    for at, number in numbers:
        if not _fits(number):
            remedy = (
                'Write type = "short_code" for a short code, "long_code" or "toll_free" for a number with +, '
                '"alphanumeric" for a name.'
            )
            yield Complaint((*at, "type"), "does not fit the number.", remedy)
            continue
        own = country_of(number.number)
        if number.country and own and own != number.country:
            message = f"is not where the number belongs: that is {own}."
            yield Complaint((*at, "country"), message, "Remove it: a phone number tells its country itself.")
        if number.type == "alphanumeric":
            yield from _one_way(number, at, [other for _, other in numbers], programs)
        elif number.way_out:
            yield Complaint((*at, "way_out"), "is for names only: people can text this number.", "Remove it.")


def doubts(entries: Sequence[Entry], programs: Mapping[str, Program | None]) -> Iterator[Complaint]:
    """What the rules of its country ask of a number, and its programs do not have."""
    for at, _, number in entries:
        for name in number.program if number else ():
            program = programs.get(name)
            if program is None or number is None:
                continue
            if number.type == "short_code" and program.channel == "sms":
                yield from _on_short_code(number, program, at)
            if number.type == "alphanumeric" and number.way_out:
                yield from _told_way_out(number, number.way_out, program)


def without_way_out(program: Program, at: Loc) -> Iterator[Complaint]:
    """Where reserved words do not count when typed, people need another word to get out."""
    typed = program.keyword_set.reserved or any(keyword.intent == "opt_out" for keyword in program.keywords)
    if not typed:
        remedy = (
            "Write reserved_words = true in it, or give it a keyword of its own: "
            f'[[{dotted((*at, "keywords"))}]] with words = ["STOP"] and intent = "opt_out".'
        )
        yield Complaint(at, "has no word that people can type to opt out: STOP does not count here.", remedy)


def _fits(number: Number) -> bool:
    if number.number.startswith("+"):
        return number.type in ("long_code", "toll_free")
    return number.type == ("short_code" if number.number.isdecimal() else "alphanumeric")


def _one_way(
    number: Number, at: Loc, others: Sequence[Number], programs: Mapping[str, Program | None]
) -> Iterator[Complaint]:
    """Whoever is texted from a name is told where to opt out, and can do it there."""
    if any(found.channel != "sms" for name in number.program if (found := programs.get(name))):
        yield Complaint(
            (*at, "type"), "is a name, which WhatsApp cannot send from.", "Write the number that it has there."
        )
    if not number.way_out:
        message = "is missing: nobody can text STOP to a name."
        remedy = 'Write what people are told to do instead, such as way_out = "STOP to 36111" or a web address.'
        yield Complaint((*at, "way_out"), message, remedy)
        return
    for other in others:
        missing = [name for name in number.program if name not in other.program]
        if missing and other.type != "alphanumeric" and _names(number.way_out, other.number):
            message = f"leads to {other.number}, where STOP does not end {' and '.join(missing)}."
            written = ", ".join(f'"{name}"' for name in (*other.program, *missing))
            remedy = f"Write program = [{written}] at {other.number}, or name another way out."
            yield Complaint((*at, "way_out"), message, remedy)


def _names(way_out: str, number: str) -> bool:
    return re.search(rf"(?<![+0-9]){re.escape(number)}(?![0-9])", way_out) is not None


def _told_way_out(number: Number, way_out: str, program: Program) -> Iterator[Complaint]:
    """The texts that are sent from a name say the way out, or at least where it leads, in whatever language."""
    addresses = _ADDRESS.findall(way_out) or [way_out]
    for language, texts in program.reply_texts.items():
        for kind in ("prompt", "opt_in"):
            text = texts.get(kind)
            if text and not all(address.casefold() in text.casefold() for address in addresses):
                place = ("programs", program.id, "replies", language, kind)
                message = f"is sent from {number.number} and does not say how to opt out there."
                yield Complaint(place, message, f"Add what way_out says to the text: {way_out}")


def _on_short_code(number: Number, program: Program, at: Loc) -> Iterator[Complaint]:
    if number.country not in ("US", "CA", None):
        return
    if not program.keyword_set.reserved:
        message = (
            f"keeps STOP and HELP from being understood on {number.number}, which the rules for short codes ask for."
        )
        yield Complaint(("programs", program.id, "reserved_words"), message, "Remove it.")
    if number.country == "CA":
        yield from _in_canada(number.number, program)
    elif not any("help" in texts for texts in program.reply_texts.values()):
        place = ("programs", program.id, "replies", program.languages[0], "help")
        message = f"is missing: by the rules of the US (CTIA), the short code {number.number} has to answer HELP."
        elsewhere = "" if number.country else f" If it is of another country, write country in {dotted(at)}."
        yield Complaint(place, message, f"{_below(place)}{elsewhere}")


def _in_canada(number: str, program: Program) -> Iterator[Complaint]:
    """STOP, ARRET, HELP, AIDE, INFO are understood where both languages are there, and where HELP has an answer."""
    at: Loc = ("programs", program.id)
    tags = {tag.partition("-")[0]: tag for tag in reversed(program.languages)}
    missing = [language for language in ("en", "fr") if language not in tags]
    if missing:
        languages = ", ".join(f'"{tag}"' for tag in (*program.languages, *missing))
        message = (
            f"lacks {' and '.join(missing)}: the Canadian short code {number} has to answer in English and French."
        )
        yield Complaint((*at, "languages"), message, f"Write languages = [{languages}], and the texts of both.")
    texts = program.reply_texts
    spoken = [tags[language] for language in ("en", "fr") if language in tags]
    for language, kind in product(spoken, _SAID_IN_CANADA):
        place = (*at, "replies", language, kind)
        text = texts.get(language, {}).get(kind)
        if text is None and kind != "none":
            message = f"is missing: the Canadian short code {number} has to answer STOP and HELP in English and French."
            yield Complaint(place, message, _below(place))
        if text and len(text) > _LONGEST_IN_CANADA:
            message = f"has {len(text)} characters; a reply of the Canadian short code {number} has at most 160."
            yield Complaint(place, message, "Shorten it.")
    if not any("none" in each for each in texts.values()):
        place = (*at, "replies", program.languages[0], "none")
        message = f"is missing: the Canadian short code {number} has to answer what it does not understand."
        yield Complaint(place, message, _below(place, "Invalid keyword, please try again."))


def _below(place: Loc, text: str = "…") -> str:
    return f'Write {place[-1]} = "{text}" below [{dotted(place[:-1])}].'
