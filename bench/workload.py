"""What the benchmarks are run on: keywords, programs and messages, the same ones each time."""

import random
from collections.abc import Sequence
from typing import Literal

from router.rules import CustomKeyword, KeywordSet, reserved_words

PROGRAMS = 200
#: Of the programs, in turns.
LANGUAGES = (("en",), ("en", "es"), ("en", "fr"), ("en", "es", "fr", "de"))
_LETTERS = "ABCDEFGHIJKLMNOPRSTUVW"
_RESERVED = ("STOP", "Stop", "stop.", "HELP", "help", "START", "Stop please!!", "yes", "UNSUBSCRIBE", " stop\n")
_CHAT = (
    "Hi, when do you open on sunday?",
    "thanks",
    "see you there",
    "no",
    "what is this about",
    "call me later",
    "Can I get two tickets for tonight please",
    "ok",
    "My order 12345 has not arrived yet, can you check?",
    "Who is this",
    "sounds good, see you at 7",
    "I need to change my address",
    "lol",
    "running 10 min late",
    "Is the blue one still in stock? Size M",
    "Happy birthday!!",
    "how much is it",
    "yes I will be there",
    "Sorry, I missed your call. Try again after 5.",
    "Great service today, thank you so much",
    "it does not work on my phone",
    "do you ship to canada",
    "good morning",
    "We would like to book a table for four on friday evening",
)
#: Texts of 150 to 160 characters, as long as one SMS: other letters than of ASCII, phrases, misspellings.
_LONG = (
    "Bonjour, j'ai reçu hier votre message au sujet de ma commande, mais je ne l'ai toujours pas et personne ne "
    "répond au téléphone. Que dois-je faire maintenant ?",
    "Hello, I have been getting these messages for weeks now and I never asked for any of them, so please take my "
    "number off your list today and do not text me again",
    "Hola, buenos días: quería preguntar si mañana abren por la tarde, porque el niño sale del colegio a las cinco "
    "y no llegamos antes. Muchas gracias por todo ya",
    "Ich wollte nur kurz fragen, ob die Größe 42 nächste Woche wieder verfügbar ist, weil ich sie für meinen Bruder "
    "bräuchte, und was der Versand nach Österreich kostet",
    "Thanks for the update. We are at the bus stop on the corner of Main and 5th and will be there in about 20 "
    "minutes, please wait for us and keep two seats at front",
)

#: What a message is: a keyword of its program, one with an argument, a reserved word, no keyword, a full-length text.
Kind = Literal["own", "argument", "reserved", "chat", "long"]
#: A text, and the number of the program that it is sent to.
Message = tuple[str, int]


def words(count: int) -> list[str]:
    """Distinct words of 4 to 12 letters, none of them reserved."""
    chance = random.Random(count)
    reserved = set(reserved_words(sorted({language for spoken in LANGUAGES for language in spoken})))
    found: dict[str, None] = {}
    while len(found) < count:
        word = "".join(chance.choices(_LETTERS, k=chance.randint(4, 12)))
        if word.casefold() not in reserved:
            found[word] = None
    return list(found)


def keyword_sets(listed: Sequence[str]) -> list[KeywordSet]:
    """The words dealt out to the programs."""
    return [
        KeywordSet(f"p{number}", LANGUAGES[number % 4], tuple(map(CustomKeyword, listed[number::PROGRAMS])))
        for number in range(PROGRAMS)
    ]


def messages(listed: Sequence[str], kinds: Sequence[Kind], count: int) -> list[Message]:
    """What people send: of one of the kinds each, to a program that has the word. All but `long` is ASCII."""
    chance = random.Random(1)
    found = []
    for _ in range(count):
        place = chance.randrange(len(listed))
        found.append((_written(listed[place], chance.choice(kinds), chance), place % PROGRAMS))
    return found


def _written(word: str, kind: Kind, chance: random.Random) -> str:
    match kind:
        case "own":
            return chance.choice([word, word.lower(), word.title(), f" {word.title()}!\n"])
        case "argument":
            return f"{chance.choice([word, word.lower(), word.title()])} {chance.randint(1, 99999)}"
        case "reserved":
            return chance.choice(_RESERVED)
        case "chat":
            return chance.choice(_CHAT)
        case "long":
            return chance.choice(_LONG)
