"""What kinds of numbers ask of a configuration, and what people can say on each."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.calls import Call, prepare_block, prepare_call
from router.cli import group
from router.config import Settings, load
from router.decide import Reading
from router.errors import ConfigurationError
from router.routing import Routing
from router.types import Channel, Inbound, Receipt
from tests.asgi import serving
from tests.commits import Clock
from tests.receiving import SENDER, World

TOLL_FREE, LONG, SHORT = "+18005550199", "+14155550199", "20202"
BASE = """
[store]
url = "{url}"
prefix = "{prefix}"
data = "data"
shards = 2
[accounts.acme]
carrier = "post"
[destinations.crm]
platform = "webhook"
url = "https://crm.example.com/"
secrets = ["file:webhook.secret"]
"""


def number(number: str, kind: str, *keys: str, program: str = "deals") -> str:
    """An entry of [[numbers]]."""
    listed = ", ".join(f'"{name}"' for name in program.split("+"))
    own = f'number = "{number}"\naccount = "acme"\ntype = "{kind}"\nprogram = [{listed}]\n'
    return "[[numbers]]\n" + own + "\n".join(keys) + "\n"


def program(*keys: str, name: str = "deals", **texts: str) -> str:
    """A program, with texts such as `en_help`."""
    head = f'[programs.{name}]\nname = "The {name}"\n' + "\n".join(keys) + "\n"
    for language in dict.fromkeys(kind.partition("_")[0] for kind in texts):
        head += f"[programs.{name}.replies.{language}]\n"
        head += "".join(
            f'{kind.partition("_")[2]} = "{text}"\n' for kind, text in texts.items() if kind.startswith(f"{language}_")
        )
    return f"{head}[programs.{name}.destinations.crm]\n"


GOOD = {"en_opt_in": "Welcome.", "en_opt_out": "Goodbye.", "en_help": "Call 555."}
FRENCH = {"fr_opt_out": "Au revoir.", "fr_help": "Appelez le 555."}


@pytest.fixture
def read(carriers: Path, embedded_url: str, prefix: str) -> Callable[..., Settings]:
    """Loads a file with these parts."""

    def read(*parts: str) -> Settings:
        path = carriers / f"{prefix}.toml"
        path.write_text(BASE.format(url=embedded_url, prefix=prefix) + "".join(parts))
        return load(path)

    return read


Read = Callable[..., Settings]


def said(settings: Settings) -> list[str]:
    """The warnings, less their lines."""
    return [str(warning).partition(": ")[2] for warning in settings.warnings]


def refused(read: Read, *parts: str) -> list[str]:
    """The mistakes that are found, less their lines."""
    with pytest.raises(ConfigurationError) as caught:
        read(*parts)
    return [str(problem).partition(": ")[2] for problem in caught.value.problems]


# Short codes


def test_a_short_code_needs_no_text_but_the_confirmation_of_an_opt_out(read: Read) -> None:
    short = number(SHORT, "short_code", 'country = "FR"')

    assert said(read(short, program(en_opt_out="Goodbye."))) == []
    assert refused(read, short, program()) == [
        'programs.deals.replies.en.opt_out: is missing. Write opt_out = "…" below [programs.deals.replies.en]: the one '
        "confirmation of an opt-out."
    ]


@pytest.mark.parametrize("other", [number(LONG, "long_code"), number(TOLL_FREE, "toll_free")])
def test_a_program_that_has_another_number_too_needs_all_texts(read: Read, other: str) -> None:
    found = refused(read, number(SHORT, "short_code"), other, program('opt_in = "double"', en_opt_out="Goodbye."))

    assert [problem.partition(":")[0].rpartition(".")[2] for problem in found] == ["help", "opt_in", "prompt"]


def test_on_a_short_code_only_what_has_a_text_is_understood(read: Read) -> None:
    routing = Routing(read(number(SHORT, "short_code"), program(en_opt_out="Goodbye.", en_none="What?")))
    route = routing.find("acme", "sms", SHORT)
    intents = {}
    for text in ("START", "HELP", "YES", "STOP"):
        plan = routing.plan(route, routing.match(route, Inbound("", "", SHORT, text)), Reading())
        intents[text] = plan.intent

    assert intents == {"START": "none", "HELP": "none", "YES": "none", "STOP": "opt_out"}


@pytest.mark.parametrize(
    ("keys", "elsewhere"),
    [((), " If it is of another country, write country in numbers[0]."), (('country = "US"',), "")],
)
def test_a_short_code_of_the_us_or_of_no_known_country_has_to_answer_help(
    read: Read, keys: tuple[str, ...], elsewhere: str
) -> None:
    short = number(SHORT, "short_code", *keys)

    assert said(read(short, program(**GOOD))) == []
    assert said(read(short, program(en_opt_out="Goodbye."))) == [
        "programs.deals.replies.en.help: is missing: by the rules of the US (CTIA), the short code 20202 has to answer "
        f'HELP. Write help = "…" below [programs.deals.replies.en].{elsewhere}'
    ]


@pytest.mark.parametrize("country", ["US", "CA"])
def test_reserved_words_stay_on_where_rules_ask_for_them(read: Read, country: str) -> None:
    texts = GOOD | FRENCH | {"en_none": "Invalid keyword."}
    off = program("reserved_words = false", 'languages = ["en", "fr"]', **texts)

    _, found = said(read(number(SHORT, "short_code", f'country = "{country}"'), off))

    assert found == (
        "programs.deals.reserved_words: keeps STOP and HELP from being understood on 20202, which the rules for short "
        "codes ask for. Remove it."
    )


def test_a_canadian_short_code_answers_in_both_languages_shortly_and_what_it_does_not_know(read: Read) -> None:
    short = number(SHORT, "short_code", 'country = "CA"')
    both = 'languages = ["en", "fr"]'

    assert said(read(short, program(both, **GOOD, **FRENCH, en_none="Invalid keyword, please try again."))) == []
    assert said(
        read(short, program(both, en_opt_out="Goodbye.", en_help="x" * 161, fr_help="Appelez.", fr_none="y" * 200))
    ) == [
        "programs.deals.replies.en.help: has 161 characters; a reply of the Canadian short code 20202 has at most 160. "
        "Shorten it.",
        "programs.deals.replies.fr.opt_out: is missing: the Canadian short code 20202 has to answer STOP and HELP in "
        'English and French. Write opt_out = "…" below [programs.deals.replies.fr].',
        "programs.deals.replies.fr.none: has 200 characters; a reply of the Canadian short code 20202 has at most 160. "
        "Shorten it.",
    ]
    assert said(read(short, program(both, **GOOD, **FRENCH))) == [
        "programs.deals.replies.en.none: is missing: the Canadian short code 20202 has to answer what it does not "
        'understand. Write none = "Invalid keyword, please try again." below [programs.deals.replies.en].'
    ]
    assert said(read(short, program(**GOOD, en_none="Invalid keyword."))) == [
        "programs.deals.languages: lacks fr: the Canadian short code 20202 has to answer in English and French. "
        'Write languages = ["en", "fr"], and the texts of both.'
    ]


# Names that texts are sent from

SENDS = """
[accounts.sms]
carrier = "standard_webhooks"
secrets = ["file:webhook.secret"]
url = "https://a.example/"
"""
WELCOME = {**GOOD, "en_opt_in": "Welcome. Text STOP to 36111 to get no more."}
WAY_OUT = 'way_out = "Text STOP to 36111"'


def test_a_name_needs_another_way_out(read: Read) -> None:
    assert refused(read, number("Acme Deals", "alphanumeric"), program(**GOOD)) == [
        "numbers[0].way_out: is missing: nobody can text STOP to a name. Write what people are told to do instead, "
        'such as way_out = "STOP to 36111" or a web address.'
    ]


def test_a_program_that_only_sends_from_a_name_needs_no_answers(read: Read) -> None:
    assert said(read(number("Acme", "alphanumeric", WAY_OUT), program())) == []


def test_a_way_out_that_leads_to_one_of_our_numbers_ends_every_program_of_the_name(read: Read) -> None:
    sender = number("Acme", "alphanumeric", WAY_OUT, program="deals+news")
    programs = program(**WELCOME) + program('called = ["n"]', name="news", **WELCOME)

    assert said(read(sender, number("36111", "short_code", program="deals+news"), programs)) == []
    assert said(read(sender, number("6111", "short_code", program="deals"), programs)) == []
    assert refused(read, sender, number("36111", "short_code"), programs) == [
        "numbers[0].way_out: leads to 36111, where STOP does not end news. "
        'Write program = ["deals", "news"] at 36111, or name another way out.'
    ]


@pytest.mark.parametrize(
    ("way_out", "text", "good"),
    [
        ("Text STOP to 36111", "Bonjour. STOP au 36111.", True),
        ("Text STOP to 36111", "Hello. Text STOP to 36112.", False),
        ("https://acme.example/out", "Hello. Out: HTTPS://ACME.EXAMPLE/out", True),
        ("https://acme.example/out", "Hello.", False),
        ("ask in any shop", "Hello. To get no more, ask in any shop.", True),
        ("ask in any shop", "Hello. Ask us.", False),
    ],
)
def test_what_is_sent_from_a_name_says_where_the_way_out_is(read: Read, way_out: str, text: str, good: bool) -> None:
    sender = number("Acme", "alphanumeric", f'way_out = "{way_out}"')
    found = said(read(sender, program(en_prompt=text)))

    assert found == (
        []
        if good
        else [
            "programs.deals.replies.en.prompt: is sent from Acme and does not say how to opt out there. "
            f"Add what way_out says to the text: {way_out}"
        ]
    )


def test_a_name_is_not_for_whatsapp(read: Read) -> None:
    chat = program('channel = "whatsapp"', "reserved_words = true", **WELCOME)

    assert refused(read, number("Acme", "alphanumeric", WAY_OUT), chat) == [
        "numbers[0].type: is a name, which WhatsApp cannot send from. Write the number that it has there."
    ]


def test_a_name_sends_like_a_long_code_and_only_where_there_is_no_number(read: Read) -> None:
    name = number("Acme", "alphanumeric", WAY_OUT, 'country = "US"').replace('"acme"', '"sms"')
    short = number("36111", "short_code", 'country = "FR"').replace('"acme"', '"sms"')
    alone = Routing(read(SENDS, name, program()))
    both = Routing(read(SENDS, name, short, program(**WELCOME)))

    assert alone.number_for("deals", SENDER) == ("sms", "Acme")
    assert both.number_for("deals", SENDER) == ("sms", "36111")
    assert Routing(read(name.replace('"sms"', '"acme"'), program())).texts_per_second("acme") == {"Acme": 3}


def test_a_person_is_texted_from_the_short_code_of_their_country(read: Read) -> None:
    codes = "".join(
        number(code, "short_code", f'country = "{country}"').replace('"acme"', '"sms"')
        for code, country in (("36111", "FR"), (SHORT, "US"))
    )
    routing = Routing(read(SENDS, codes, program(**GOOD)))

    assert routing.number_for("deals", "+14155550101") == ("sms", SHORT)
    assert routing.number_for("deals", "+33612345678") == ("sms", "36111")


def test_a_number_of_the_persons_own_country_goes_before_a_short_code_of_nobody_knows_which(read: Read) -> None:
    short, french = (
        number(ours, kind).replace('"acme"', '"sms"')
        for ours, kind in ((SHORT, "short_code"), ("+33612340000", "long_code"))
    )
    routing = Routing(read(SENDS, short, french, program(**GOOD)))

    assert routing.number_for("deals", "+33612345678") == ("sms", "+33612340000")
    assert routing.number_for("deals", SENDER) == ("sms", SHORT)


def test_what_a_caller_asks_for_is_sent_from_a_name_where_there_is_nothing_else(read: Read) -> None:
    name = number("Acme", "alphanumeric", WAY_OUT).replace('"acme"', '"sms"')
    routing = Routing(read(SENDS, name, program(en_prompt="Text YES on our page. STOP: 36111.")))
    asked = prepare_call(routing, Call("1", SENDER, "deals", "subscribed", "api:/x", ask=True), 1.0)
    receipt = Receipt("SM1", "Acme", SENDER, "opted_out")
    blocked = prepare_block(routing, "sms", receipt, 1.0)

    assert asked.text.recipient == "Acme"
    assert "reply:sms" in asked.commit.destinations
    assert blocked
    assert (blocked.commit.block, blocked.commit.plan.programs) == ("sms/Acme", ("deals",))


def test_nobody_texts_a_name_by_the_api(read: Read) -> None:
    routing = Routing(read(number("Acme", "alphanumeric", WAY_OUT), program()))

    assert routing.find("api", "sms", "Acme").program is None
    assert routing.find("acme", "sms", "Acme").program == "deals"


# WhatsApp


@pytest.mark.parametrize(
    "more", ["reserved_words = true\n", '[[programs.deals.keywords]]\nwords = ["STOP"]\nintent = "opt_out"\n', ""]
)
def test_a_program_of_whatsapp_has_a_word_to_get_out_by(read: Read, more: str) -> None:
    keys = ['channel = "whatsapp"', more] if more.startswith("reserved") else ['channel = "whatsapp"']
    chat = program(*keys, **GOOD) + (more if more.startswith("[[") else "")

    assert said(read(number(LONG, "long_code"), chat)) == (
        []
        if more
        else [
            "programs.deals: has no word that people can type to opt out: STOP does not count here. Write "
            "reserved_words = true in it, or give it a keyword of its own: [[programs.deals.keywords]] with "
            'words = ["STOP"] and intent = "opt_out".'
        ]
    )


# Toll-free numbers


@asynccontextmanager
async def toll_free(settings: Settings) -> AsyncIterator[World]:
    clock = Clock()
    async with serving(settings, clock) as app:
        yield World(app, clock, settings.path)


@pytest.mark.parametrize(
    ("texts", "blocked"),
    [
        (["STOP"], True),
        (["arrêt"], True),
        # The network does not know of these: the opt-out is ours alone, and a caller of the API can take it back.
        (["stop texting me"], False),
        (["QUIT"], False),
        (["STOP", "START"], False),
        (["STOP", "unstop"], False),
        # Nor does it let through again whom only we understand.
        (["STOP", "subscribe"], True),
        (["STOP", "YES"], True),
        (["STOP", "start please"], True),
    ],
)
async def test_the_networks_block_follows_its_own_words(read: Read, texts: list[str], blocked: bool) -> None:
    settings = read(number(TOLL_FREE, "toll_free"), program('languages = ["en", "fr"]', **GOOD))
    async with toll_free(settings) as w:
        for text in texts:
            await w.post(w.text(text, recipient=TOLL_FREE))
        person = await w.person()

    assert person
    assert [block.number for block in person.blocks] == ([TOLL_FREE] if blocked else [])


def test_a_callers_word_does_not_lift_the_networks_block(read: Read) -> None:
    routing = Routing(read(number(TOLL_FREE, "toll_free"), program(**GOOD)))
    plan = routing.call_plan("deals", "api:/subscription/status/set", "subscribe")

    assert {(row.after, row.block) for row in plan.rows[0]} == {("subscribed", "")}


@pytest.mark.parametrize(
    ("channel", "toll_free", "blocks"),
    [("sms", TOLL_FREE, True), ("sms", "+448001111111", False), ("whatsapp", TOLL_FREE, False)],
)
def test_only_the_network_of_north_america_blocks_and_only_sms(
    read: Read, channel: Channel, toll_free: str, blocks: bool
) -> None:
    settings = read(number(toll_free, "toll_free"), program(f'channel = "{channel}"', "reserved_words = true", **GOOD))
    route = Routing(settings).find("acme", channel, toll_free)

    assert route.policies[0].network_blocks == blocks


@pytest.mark.parametrize(
    ("kind", "keys", "mode", "asks"),
    [
        ("toll_free", "", "double", False),
        ("toll_free", "", "subscribe_first", False),
        ("toll_free", "", "single", True),
        ("toll_free", "carrier_answers = []", "double", True),
        ("toll_free", 'carrier_answers = ["opt_in"]', "double", False),
    ],
)
def test_a_double_opt_in_that_somebody_elses_answer_to_start_keeps_from_asking_is_named(
    read: Read, carriers: Path, kind: str, keys: str, mode: str, asks: bool
) -> None:
    (carriers / "token.secret").write_text("0123456789abcdef0123456789abcdef")
    texts = GOOD | {"en_prompt": "Reply YES."}
    account = '[accounts.tw]\ncarrier = "twilio"\nauth_tokens = ["file:token.secret"]\n'
    own = number(TOLL_FREE, kind, keys).replace('"acme"', '"tw"')
    settings = read(account, own, program(f'opt_in = "{mode}"', **texts))

    checked = CliRunner().invoke(group, ["check", str(settings.path)])

    assert Routing(settings).unasked() == ([] if asks else [(TOLL_FREE, "deals")])
    assert checked.exit_code == 0
    assert checked.output.count("programs.deals.opt_in: ") == (0 if asks else 1)


def test_a_block_of_a_sender_of_whatsapp_is_of_its_program(read: Read) -> None:
    routing = Routing(read(number(LONG, "long_code"), program('channel = "whatsapp"', **GOOD)))
    receipt = Receipt("r1", LONG, SENDER, "opted_out")

    prepared = prepare_block(routing, "acme", receipt, 0.0)

    assert prepared
    assert (prepared.commit.plan.program, prepared.text.channel) == ("deals", "whatsapp")
