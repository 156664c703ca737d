"""What the histories of tests/test_consent_model.py are about: programs of every kind, their numbers, what people say.

The configuration and the model are both made of the same few lines, so that neither can know what the other does not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import orjson

from tests.consent_terms import Number, Program, Said

REPLIES_PER_HOUR = 5
_KINDS = ("opt_in", "prompt", "opt_out", "help", "none")


def _texts(name: str, languages: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """A text of its own for each kind and language; French borrows its help."""
    texts = {kind: {language: f"{name} {kind} {language}" for language in languages} for kind in _KINDS}
    texts["help"].pop("fr", None)
    return texts


def _program(name: str, mode: str = "single", languages: tuple[str, ...] = ("en",), **more: bool) -> Program:
    return Program(mode, _texts(name, languages), **more)  # type: ignore[arg-type]


PROGRAMS = {
    "news": _program("news"),
    "deals": _program("deals", "double", ("en", "fr")),
    "alerts": _program("alerts"),
    "club": _program("club", "double", ("en", "fr")),
    "sport": _program("sport", "subscribe_first"),
    "care": _program("care"),
    "red": _program("red"),
    "blue": _program("blue", "double"),
    "shop": _program("shop"),
    "bank": _program("bank", "subscribe_first"),
    "chat": _program("chat"),
    "orders": _program("orders", marketing=False),
}
SHARED = ("alerts", "club", "sport")
CHOICE = {"en": "Which to keep?", "fr": "Lesquels garder ?"}
ANSWERS_STOP = frozenset({"opt_out"})

#: By what is said to them; `news` has a second number at the other account.
NUMBERS = {
    "news": Number("+14155550101", "inline", ("news",), carrier_answers=ANSWERS_STOP),  # type: ignore[arg-type]
    "news2": Number("+14155550102", "sent", ("news",)),
    "deals": Number("+14155550103", "sent", ("deals",), ("en", "fr")),
    "shared": Number("20202", "inline", SHARED, ("en", "fr"), choice=CHOICE),
    "care": Number("+18335550104", "inline", ("care",), network_blocks=True),
    "colours": Number("+14155550105", "sent", ("red", "blue"), scope="number", choice={"en": "Red or blue?"}),
    "shop": Number("+14155550106", "sent", ("shop",), scope="account"),
    "bank": Number("+14155550107", "inline", ("bank",), scope="all"),
    "chat": Number("+14155550108", "sent", ("chat", "orders")),
    "nobody": Number("+14155550109", "inline", (), ("en", "fr")),
}
#: Where what the API asks for is sent from: the first number of each program.
SENT_FROM = {program: next(n for n in NUMBERS.values() if program in n.programs) for program in PROGRAMS}
_TYPES = {"shared": "short_code", "care": "toll_free"}
_TEN = {"en": "Ten percent off."}
_DIX = _TEN | {"fr": "Dix pour cent."}

_EVERYWHERE = {
    "STOP": Said("opt_out", alone=True),
    "Stop please!!": Said("opt_out"),
    "START": Said("opt_in", alone=True),
    "HELP": Said("help", alone=True, language="en"),
    "YES": Said("confirm", alone=True, language="en"),
    "see you at the game": Said("none"),
}
_IN_FRENCH = {
    "arrêt": Said("opt_out", alone=True, language="fr"),
    "REPRENDRE": Said("opt_in", alone=True, language="fr"),
    "UNSTOP": Said("opt_in", alone=True, language="en"),
    "OUI": Said("confirm", alone=True, language="fr"),
    "AIDE": Said("help", alone=True, language="fr"),
}


def _named(*programs: str) -> Iterator[tuple[str, Said]]:
    """What is said of the programs of a shared number by name."""
    for program in programs:
        yield f"STOP {program}", Said("opt_out", program, alone=True)
        yield f"{program} stop", Said("opt_out", program, alone=True)
        yield f"START {program}", Said("opt_in", program, alone=True)
        yield f"KEEP {program}", Said("confirm", program, keeps=True)
        yield program, Said("confirm", program, keeps=True)
    yield "STOP PIZZA", Said("opt_out", everything=True, alone=True)


#: number → text → what it means there.
SAYINGS: dict[str, dict[str, Said]] = {
    "news": _EVERYWHERE | {"COUPONS": Said("custom", own=_TEN)},
    "news2": _EVERYWHERE,
    "deals": _EVERYWHERE | _IN_FRENCH | {"COUPONS please": Said("custom", own=_DIX)},
    "shared": _EVERYWHERE
    | _IN_FRENCH
    | dict(_named(*SHARED))
    | {"OUI club": Said("confirm", "club", language="fr"), "SCORES": Said("custom", "sport", own=_TEN)},
    "care": _EVERYWHERE,
    "colours": _EVERYWHERE | dict(_named("red", "blue")),
    "shop": _EVERYWHERE,
    "bank": _EVERYWHERE,
    # On WhatsApp typed words are words; buttons and preferences count.
    "chat": {text: Said("none") for text in ("STOP", "START", "YES", "hello")},
    "nobody": {text: _EVERYWHERE[text] for text in ("STOP", "START", "HELP", "see you at the game")},
}
#: What stands on buttons, and what is set elsewhere, of WhatsApp.
TAPPED = {"STOP": Said("opt_out", alone=True), "START": Said("opt_in", alone=True)}
PREFERENCES = {
    ("STOP", "marketing"): Said("opt_out", texted=False, marketing=True),
    ("STOP", None): Said("opt_out", texted=False),
    ("START", "marketing"): Said("opt_in", texted=False, marketing=True),
    ("START", None): Said("opt_in", texted=False),
}


def write_configuration(folder: Path, store_url: str, prefix: str) -> Path:
    """The same as a configuration; the carriers have to be on `sys.path`."""
    lines = [
        f'[store]\nurl = "{store_url}"\nprefix = "{prefix}"\ndata = "{prefix}"\nshards = 1\n',
        f"[limits]\nreplies_per_hour = {REPLIES_PER_HOUR}\nreply_within_minutes = 1440\n",
        '[accounts.inline]\ncarrier = "relay"\n[accounts.sent]\ncarrier = "outrider"\n',
        '[destinations.crm]\nplatform = "webhook"\nurl = "https://crm.example.com/"',
        'secrets = ["file:webhook.secret"]',
    ]
    lines += [_number(name, number) for name, number in NUMBERS.items() if number.programs]
    lines += [_described(name, program) for name, program in PROGRAMS.items()]
    path = folder / f"{prefix}.toml"
    path.write_text("\n".join(lines))
    return path


def _number(name: str, number: Number) -> str:
    answers = orjson.dumps(sorted(number.carrier_answers)).decode()
    return f"""[[numbers]]
number = "{number.number}"
account = "{number.account}"
type = "{_TYPES.get(name, "long_code")}"
program = {orjson.dumps(number.programs).decode()}
opt_out_scope = "{number.scope}"
carrier_answers = {answers}
texts_per_second = 1000000
"""


def _described(name: str, program: Program) -> str:
    languages = list(program.texts["opt_in"])
    lines = [
        f'[programs.{name}]\nname = "{name}"\nopt_in = "{program.mode}"',
        f"languages = {orjson.dumps(languages).decode()}",
        'purpose = "marketing"' if program.marketing else 'purpose = "transactional"',
        'channel = "whatsapp"' if name in NUMBERS["chat"].programs else "",
    ]
    choices: Mapping[str, str] = next((n.choice for n in NUMBERS.values() if name in n.programs), {})
    for language in languages:
        lines.append(f"[programs.{name}.replies.{language}]")
        lines += [f'{kind} = "{texts[language]}"' for kind, texts in program.texts.items() if language in texts]
        lines += [f'choice = "{choices[language]}"'] if language in choices else []
    own = {"news": "COUPONS", "deals": "COUPONS", "sport": "SCORES"}.get(name)
    if own:
        replies = ", ".join(f'{language} = "{_DIX[language]}"' for language in languages)
        lines.append(f'[[programs.{name}.keywords]]\nwords = ["{own}"]\nreplies = {{ {replies} }}')
    lines.append(f"[programs.{name}.destinations.crm]")
    return "\n".join(lines) + "\n"


def hinted(said: Said, *, person: bool = True) -> Said:
    """The same text with the word of a carrier that has answered it; or else of a machine."""
    return replace(said, answered=person, person=person)
