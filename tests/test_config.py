"""A configuration file is taken whole or refused with every mistake, its line, and what to write instead."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from router.config import Settings, load
from router.config.programs import Keyword, Number, Program, Replies
from router.config.settings import Account, Api, ApiKey, Destination, Ledger, Limits, Server, Store, Worker
from router.config.values import Table
from router.errors import ConfigurationError
from router.rules import CustomKeyword, KeywordSet, RuleBook
from tests.adapter_package import write_package
from tests.tables import documented_keys, keys_of, plain

ROOT = Path(__file__).parent.parent
SECRET = "a-secret-that-nobody-may-see"

ADAPTERS = """
from typing import Literal
from pydantic import Field, field_validator, model_validator
from router.ports import Options, Secret

class PigeonOptions(Options):
    rings: list[Secret] = Field(min_length=1)
    seeds: dict[str, int] = {}
    speed: float = 1.0

    @field_validator("speed")
    @classmethod
    def fly(cls, speed):
        if speed > 100:
            raise ValueError("no pigeon is that fast.")
        return speed

class Pigeon:
    Options = PigeonOptions

class NestOptions(Options):
    straw: int = 1

class LoftOptions(Options):
    url: str
    key: Secret | None = None
    home: int = Field(default=0, alias="from")
    nest: NestOptions = NestOptions()
    widest: int = 9
    tightest: int = 1

    @model_validator(mode="after")
    def fit(self):
        if self.tightest > self.widest:
            raise ValueError("the tightest is wider than the widest.")
        return self

class LoftProgramOptions(Options):
    colour: Literal["white", "grey"] = "grey"
    perch: int | None = None

class Loft:
    Options = LoftOptions
    ProgramOptions = LoftProgramOptions
"""

KEY = "[api.keys.web]\n"
HASH = f"sha256 = '{'0' * 64}'\n"
MAY = "permissions = ['users.track']\n"
WHICH = "api.keys.web.permissions[0]"
PIGEON = 'carrier = "pigeon"\nrings = ["file:ring"]'

PARTS = {
    "ledger": "",
    "server": "",
    "store": "",
    "api": "",
    "account": """
[accounts.post]
carrier = "pigeon"
rings = ["file:ring"]
""",
    "number": """
[[numbers]]
number = "+14155550199"
account = "post"
type = "long_code"
program = "deals"
""",
    "program": """
[programs.deals]
name = "Weekly deals"
languages = ["en", "fr"]
""",
    "replies": """
[programs.deals.replies.en]
opt_in = "Welcome."
opt_out = "Bye."
help = "Text us."
""",
    "keywords": """
[[programs.deals.keywords]]
words = ["COUPONS"]
""",
    "sends": """
[programs.deals.destinations.crm]
""",
    "destination": """
[destinations.crm]
platform = "loft"
url = "https://loft.example.com"
""",
    "more": "",
}


def document(**edits: str) -> str:
    """A file without a mistake, edited: an edit that begins with a header stands in place of the part of that name,
    any other one is lines, each in place of the part's line with the same key or else at its end.
    """
    assert edits.keys() <= PARTS.keys()
    return "\n".join(edited(part, edits.get(name, "")) for name, part in PARTS.items())


def edited(part: str, edit: str) -> str:
    """One part after its edit."""
    if edit.startswith("["):
        return edit
    for line in edit.splitlines():
        key = line.partition(" = ")[0] + " = "
        kept = part.splitlines()
        place = next((place for place, old in enumerate(kept) if old.startswith(key)), len(kept))
        part = "\n".join([*kept[:place], line, *kept[place + 1 :]]) + "\n"
    return part


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the configuration file, with a secret and a package of adapters in reach."""
    folder = tmp_path_factory.mktemp("configuration")
    (folder / "ring").write_text(SECRET + "\n")
    (folder / "short").write_text("0123456789")
    groups = {"router.carriers": {"pigeon": "Pigeon", "lost": "Dodo"}, "router.platforms": {"loft": "Loft"}}
    write_package(folder, "birds", ADAPTERS, groups)
    with pytest.MonkeyPatch.context() as environment:
        environment.syspath_prepend(str(folder))
        environment.setenv("KEYROUTE_TEST_RING", SECRET)
        environment.delenv("KEYROUTE_TEST_UNSET", raising=False)
        yield folder


@pytest.fixture(scope="module")
def read(folder: Path) -> Callable[[str | bytes], Settings]:
    """Loads a file of this content."""

    def read(source: str | bytes) -> Settings:
        path = folder / "keyroute.toml"
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        return load(path)

    return read


Read = Callable[[str | bytes], Settings]


def test_every_default_is_filled_in(read: Read, folder: Path) -> None:
    settings = read(document())
    account = settings.accounts["post"]

    assert (settings.server.host, settings.server.port, settings.server.uds) == ("127.0.0.1", 8080, None)
    assert settings.store.url == "embedded"
    assert settings.store.data == folder / "data"
    assert settings.api.tokens == ()
    assert account.public_url == "http://127.0.0.1:8080/in/post"
    assert account.dedupe_hours == settings.store.dedupe_hours == 24
    assert not account.trust_proxy_headers
    assert settings.numbers[0].carrier_answers is None
    assert settings.numbers[0].texts_per_second is None
    assert settings.numbers[0].reference is None
    assert settings.limits.join_seconds == 60
    assert settings.programs["deals"].id == "deals"
    assert settings.programs["deals"].confirm_within_days == 30
    assert settings.destinations["crm"].give_up_after_hours == 72


def test_an_account_follows_server_and_store_unless_it_says_otherwise(read: Read) -> None:
    server = '[server]\npublic_url = "https://sms.example.com/"\n[store]\ndedupe_hours = 48\n'
    own = 'public_url = "https://other.example.com/hook/"\ndedupe_hours = 168'
    followed = read(document(server=server)).accounts["post"]
    stated = read(document(server=server, account=own)).accounts["post"]

    assert (followed.public_url, followed.dedupe_hours) == ("https://sms.example.com/in/post", 48)
    # What the carrier signs is this text, so nothing in it is tidied.
    assert (stated.public_url, stated.dedupe_hours) == ("https://other.example.com/hook/", 168)


def test_where_the_proxy_tells_the_address_the_account_has_none(read: Read) -> None:
    account = read(document(account="trust_proxy_headers = true")).accounts["post"]

    assert account.public_url is None


def test_a_number_of_two_channels_has_one_reference(read: Read) -> None:
    whatsapp = PARTS["number"] + edited(PARTS["program"], 'channel = "whatsapp"') + PARTS["replies"]
    more = whatsapp.replace("deals", "chat").replace("[programs", 'reference = "a"\n[programs', 1).lstrip()

    assert [number.reference for number in read(document(number='reference = "a"', more=more)).numbers] == ["a", "a"]


def test_paths_count_from_the_folder_of_the_file(read: Read, folder: Path) -> None:
    settings = read(document(server='[server]\nuds = "run/http.sock"', store='[store]\ndata = "/var/keyroute"'))

    assert settings.server.uds == folder / "run/http.sock"
    assert settings.store.data == Path("/var/keyroute")


def test_an_adapter_gets_its_own_options_with_the_secrets_read(read: Read) -> None:
    account = 'rings = ["file:ring", "env:KEYROUTE_TEST_RING"]\nseeds = { corn = 3 }'
    options: Any = read(document(account=account)).accounts["post"].options

    assert [ring.reveal() for ring in options.rings] == [SECRET, SECRET]
    assert options.seeds == {"corn": 3}


def test_a_destination_is_told_of_the_programs_that_send_to_it(read: Read) -> None:
    more = """
[programs.quiet]
name = "Says nothing"
[programs.quiet.replies.en]
opt_in = "a"
opt_out = "b"
help = "c"
"""
    settings = read(document(sends='colour = "white"', more=more.lstrip()))
    options = settings.program_options("crm")

    assert {program: (name, found.colour) for program, (name, found) in options.items()} == {
        "deals": ("Weekly deals", "white")
    }


def test_reply_texts_hold_only_what_is_set(read: Read) -> None:
    settings = read(document(more='[programs.deals.replies.fr]\nopt_out = "Au revoir."'))

    assert settings.programs["deals"].reply_texts == {
        "en": {"opt_in": "Welcome.", "opt_out": "Bye.", "help": "Text us."},
        "fr": {"opt_out": "Au revoir."},
    }


def test_a_program_without_numbers_is_reached_through_the_api(read: Read) -> None:
    assert read(document(number="[api]")).numbers == ()


def test_the_same_number_leads_to_one_program_on_each_channel(read: Read) -> None:
    whatsapp = PARTS["number"] + edited(PARTS["program"], 'channel = "whatsapp"') + PARTS["replies"]

    assert len(read(document(more=whatsapp.replace("deals", "chat").lstrip())).numbers) == 2


def test_settings_cannot_be_changed(read: Read) -> None:
    settings = read(document())

    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]


def test_a_byte_order_mark_is_no_mistake(read: Read) -> None:
    assert read(b"\xef\xbb\xbf" + document().encode()).programs.keys() == {"deals"}


def test_the_example_that_comes_with_the_product_is_right(folder: Path) -> None:
    for name in ("api-token", "twilio-token"):
        (folder / "data/secrets").mkdir(parents=True, exist_ok=True)
        (folder / "data/secrets" / name).write_text("0123456789abcdef0123456789abcdef")
    (folder / "data/secrets/webhook-secret").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    path = folder / "example.toml"
    path.write_text((ROOT / "keyroute.toml").read_text())
    settings = load(path)

    assert {number.number: number.program for number in settings.numbers} == {
        "20202": ("deals",),
        "+14155550199": ("alerts",),
    }
    assert settings.programs["deals"].languages == ("en", "fr")
    assert settings.programs["deals"].opt_in == "double"
    assert settings.destinations["crm"].allow_private


@dataclass(frozen=True)
class Case:
    """A mistake: what it is called, the key that has to be named, words of the remedy, and edits of the valid file.

    The line that has to be named is the one with the comment `# HERE`, else the last of the only edit.
    """

    label: str
    key: str
    remedy: str
    edits: dict[str, str]


def case(label: str, key: str, remedy: str, **edits: str) -> Case:
    """A `Case`."""
    if len(edits) == 1 and "# HERE" not in "".join(edits.values()):
        edits = {part: f"{edit} # HERE" for part, edit in edits.items()}
    return Case(label, key, remedy, edits)


def keyword(lines: str) -> str:
    """A second keyword of the program."""
    return f"[[programs.deals.keywords]]\n{lines}".rstrip()


def named_group(name: str) -> str:
    """Another program, whose group_id is the first word of `name`; the rest is a comment behind it."""
    group_id, _, comment = name.partition(" ")
    texts = 'opt_in = "Hi."\nopt_out = "Bye."\nhelp = "Call."'
    return f'[programs.b]\nname = "B"\ngroup_id = "{group_id}" {comment}\n[programs.b.replies.en]\n{texts}'


AT_ODDS = '[destinations.crm] # HERE\nplatform = "loft"\nurl = "https://loft.example.com"\ntightest = 10'

CASES = [
    # Keys that there are not
    case("unknown section", "sever", 'Did you mean "server"?', server="[sever] # HERE\nport = 1"),
    case("unknown section unlike any", "zzzz", "write one of these: accounts, api", server="[zzzz]"),
    case("unknown key", "server.prot", 'Did you mean "port"?', server="[server]\nprot = 1"),
    case("unknown key with blanks", 'server."a b"', "write one of these: host", server='[server]\n"a b" = 1'),
    case("unknown key of an adapter", "accounts.post.ring", 'Did you mean "rings"?', account="ring = 1"),
    case("misspelt key of ours", "accounts.post.dedup_hours", '"dedupe_hours"?', account="dedup_hours = 1"),
    case("key that is filled in", "programs.deals.id", "name", program='id = "x"'),
    case("options as a key", "accounts.post.options", "rings", account="options = 1"),
    case("unknown key of a program", "programs.deals.destinations.crm.color", '"colour"?', sends='color = "white"'),
    # Values of the wrong kind, and out of range
    case("text for a number", "server.port", "such as port = 8080", server='[server]\nport = "80"'),
    case("fraction for a whole number", "store.shards", "shards = 8", store="[store]\nshards = 1.5"),
    case("number for a text", "server.host", 'such as host = "127.0.0.1"', server="[server]\nhost = 1"),
    case("date for a text", "server.host", "in quotes", server="[server]\nhost = 2026-01-01"),
    case("number for a path", "store.data", 'such as "data"', store="[store]\ndata = 1"),
    case("blank path", "store.data", "in quotes", store='[store]\ndata = ""'),
    case("text for a choice", "destinations.crm.allow_private", "without quotes", destination='allow_private = "yes"'),
    case("no host", "destinations.crm.private_hosts", "10.1.0.0/16", destination='private_hosts = ["10.1.0.0/40"]'),
    case("port of a host", "destinations.crm.private_hosts", "names such", destination='private_hosts = ["crm:80"]'),
    case("value for a table", "server", "Write [server]", server="[[server]]"),
    case("value for an account", "accounts.x", "Write [accounts.x]", more="[accounts]\nx = 1"),
    case("table for a list", "numbers", "Write [[numbers]]", number="[numbers]"),
    case("port out of range", "server.port", "65535 or less", server="[server]\nport = 65536"),
    case("no shards", "store.shards", "1 or more", store="[store]\nshards = 0"),
    case("endless timeout", "store.timeout_seconds", "timeout_seconds = 2.0", store="[store]\ntimeout_seconds = inf"),
    case("no time for parts", "limits.join_seconds", "more than 0", server="[limits]\njoin_seconds = 0"),
    case("no timeout", "store.timeout_seconds", "0.3 or more", store="[store]\ntimeout_seconds = 0"),
    case("durability unheard of", "store.durability", '"fsync" or "memory"', store='[store]\ndurability = "disk"'),
    case("prefix with a hash tag", "store.prefix", "pattern", store='[store]\nprefix = "{a}"'),
    case("option of the wrong kind", "accounts.post.seeds.corn", "seeds = { NAME = 1 }", account='seeds.corn = "x"'),
    case(
        "option missing", "accounts.x.rings", 'Add rings = ["env:NAME"]', more='[accounts.x] # HERE\ncarrier = "pigeon"'
    ),
    case("option that the adapter refuses", "accounts.post.speed", "speed = 1.0", account="speed = 200.0"),
    case("option of a program", "programs.deals.destinations.crm.colour", '"white" or "grey"', sends='colour = "red"'),
    case("option of another name inside", "destinations.crm.from", "from = …", destination='from = "x"'),
    case("unknown key in an option", "destinations.crm.nest.hay", "Remove it.", destination="nest = { hay = 1 }"),
    case("options at odds", "destinations.crm", "Change the keys", destination=AT_ODDS),
    # Addresses
    case("no web address", "server.public_url", "https://", server='[server]\npublic_url = "sms.example.com"'),
    case("query in a URL", "server.public_url", "without", server='[server]\npublic_url = "https://a.b/?c"'),
    case(
        "two sources of the signed URL",
        "accounts.post.public_url",
        "Remove one of the two",
        account='trust_proxy_headers = true\npublic_url = "https://a.b/"',
    ),
    case(
        "a slash in the user of a URL",
        "accounts.post.public_url",
        "as the carrier has it",
        account='public_url = "https://u/v:w@a.b/"',
    ),
    case("bad port in a URL", "server.public_url", "https://", server='[server]\npublic_url = "https://a:99999"'),
    case("bad bracket in a URL", "server.public_url", "https://", server='[server]\npublic_url = "https://[a"'),
    case("place for files that is none", "ledger.url", "s3://BUCKET/FOLDER", more='[ledger]\nurl = "s3://"'),
    case("scheme with blanks", "ledger.url", "a URL such as", more='[ledger]\nurl = "s 3://bucket/ledger"'),
    case("blank folder", "ledger.url", "in quotes", more='[ledger]\nurl = " "'),
    case("number for a folder", "ledger.url", "in quotes", more="[ledger]\nurl = 5"),
    case("password in it", "ledger.url", "from the environment", more='[ledger]\nurl = "sftp://me:pw@host/x"'),
    case("no years", "ledger.keep_years", "more than 0", more="[ledger]\nkeep_years = 0"),
    case("no rows", "ledger.seal_rows", "1 or more", more="[ledger]\nseal_rows = 0"),
    case("ledger that is no table", "ledger", "[ledger]", ledger="ledger = 5"),
    case("store unheard of", "store.url", "redis://", store='[store]\nurl = "mysql://db"'),
    case("store without a host", "store.url", "redis://HOST", store='[store]\nurl = "redis:///0"'),
    case("store without a path", "store.url", "unix:///PATH", store='[store]\nurl = "unix:///"'),
    case("store by Sentinel", "store.url", "redis://", store='[store]\nurl = "redis+sentinel://a/b"'),
    case("store with a bad bracket", "store.url", "redis://", store='[store]\nurl = "redis://[a"'),
    case("password in the URL", "store.url", "password = ", store=f'[store]\nurl = "redis://u:{SECRET}@h/0"'),
    case("password in the query", "store.url", "env:NAME", store=f'[store]\nurl = "redis://h?password={SECRET}"'),
    case("private network", "destinations.crm.url", "allow_private = true", destination='url = "https://10.0.0.1/a"'),
    case("private IPv6", "destinations.crm.url", "allow_private = true", destination='url = "https://[fd00::1]/a"'),
    case("this machine", "destinations.crm.url", "allow_private = true", destination='url = "https://localhost/a"'),
    case("this machine in full", "destinations.crm.url", "allow_private", destination='url = "https://localhost./a"'),
    case("bad bracket", "destinations.crm.url", "https://", destination='url = "https://[a"'),
    case("unencrypted", "destinations.crm.url", "Write https://", destination='url = "http://loft.example.com"'),
    # Secrets
    case("secret in the file", "api.tokens[0]", '"env:NAME"', api=f'[api]\ntokens = ["{SECRET}"]'),
    case("secret not set", "api.tokens[1]", "Set ", api='[api]\ntokens = ["file:ring",\n"env:KEYROUTE_TEST_UNSET"]'),
    case("secret file missing", "api.tokens[0]", "Write the secret", api='[api]\ntokens = ["file:nowhere"]'),
    case("token too short", "api.tokens[0]", "openssl rand", api='[api]\ntokens = ["file:short"]'),
    case("key in place of its hash", "api.keys.web.sha256", "keyroute key", api=f"{KEY}{MAY}sha256 = '{SECRET}'"),
    case("hash in capitals", "api.keys.web.sha256", "keyroute key", api=f"{KEY}{MAY}sha256 = '{'A' * 64}'"),
    case("key without a hash", "api.keys.web.sha256", 'sha256 = "…"', api=f"[api.keys.web] # HERE\n{MAY}"),
    case("no permissions", "api.keys.web.permissions", "at least 1", api=f"{KEY}{HASH}permissions = []"),
    case("permission unheard of", WHICH, '"users.track"?', api=f"{KEY}{HASH}permissions = ['user.track']"),
    case("name of a key", "api.keys.Web", "a-z", api=f"[api.keys.Web] # HERE\n{HASH}{MAY}"),
    case("keys that are no table", "api.keys", "[api.keys]", api="[api]\nkeys = 1"),
    case("key that is no table", "api.keys.web", "[api.keys.web]", api="[api.keys]\nweb = 1"),
    case("limits below nothing", "api.rate_limit_factor", "0 or more", api="[api]\nrate_limit_factor = -1"),
    case("no secrets", "accounts.post.rings", 'rings = ["env:NAME"]', account="rings = []"),
    case("secret of an adapter", "accounts.post.rings[0]", '"file:PATH"', account=f'rings = ["{SECRET}"]'),
    # Accounts and destinations
    case("account without carrier", "accounts.x.carrier", 'carrier = "NAME"', more="[accounts.x]"),
    case("carrier not installed", "accounts.post.carrier", "Installed are: ", account='carrier = "pidgin"'),
    case("carrier that fails at import", "accounts.post.carrier", "reinstall birds", account='carrier = "lost"'),
    case("platform not installed", "destinations.x.platform", "Installed", more='[destinations.x]\nplatform = "y"'),
    case("account named api", "accounts.api", "another", more=f"[accounts.api] # HERE\n{PIGEON}"),
    case("name in capitals", "accounts.Post", "a-z", more=f"[accounts.Post] # HERE\n{PIGEON}"),
    case("no such destination", "programs.deals.destinations.cm", '"crm"?', sends="[programs.deals.destinations.cm]"),
    # Numbers
    case("no such account", "numbers[0].account", 'Did you mean "post"?', number='account = "pots"'),
    case("no such program", "numbers[0].program", 'Did you mean "deals"?', number='program = "deal"'),
    case("number without +", "numbers[0].number", '"+14155550199"', number='number = "14155550199"'),
    case("number as people write it", "numbers[0].number", '"+14155550199"', number='number = "+1 (415) 555-0199"'),
    case("number of a channel", "numbers[0].number", '"+14155550199"', number='number = "whatsapp:+14155550199"'),
    case("number without quotes", "numbers[0].number", "in quotes", number="number = 20202"),
    case(
        "a name called a long code",
        "numbers[0].type",
        '"alphanumeric"',
        number='number = "ACME"\ntype = "long_code" # HERE',
    ),
    case("name too long", "numbers[0].number", "1 to 11 of A-Z", number='number = "Acme Deals 12"'),
    case("name with other marks", "numbers[0].number", "1 to 11 of A-Z", number='number = "ACME-24"'),
    case("name with blanks around it", "numbers[0].number", 'Write "ACME".', number='number = " ACME"'),
    case("no country", "numbers[0].country", "two capital letters", number='country = "UK"'),
    case("country in small letters", "numbers[0].country", "two capital letters", number='country = "us"'),
    case("country of another number", "numbers[0].country", "Remove it", number='country = "CA"'),
    case("way out of what can be texted", "numbers[0].way_out", "Remove it", number='way_out = "STOP to 36111"'),
    case("type alphanumeric", "numbers[0].type", '"long_code"', number='type = "alphanumeric"'),
    case("no number at all", "numbers[0].number", "E.164", number='number = "12"'),
    case("short code's type", "numbers[0].type", '"short_code"', number='number = "20202"\ntype = "toll_free" # HERE'),
    case("number called a short code", "numbers[0].type", '"long_code"', number='type = "short_code"'),
    case(
        "number twice",
        "numbers[1].number",
        "Remove one",
        more=PARTS["number"].replace('0199"', '0199" # HERE').lstrip(),
    ),
    case(
        "answer that no carrier gives", "numbers[0].carrier_answers[0]", "opt_out", number='carrier_answers = ["stop"]'
    ),
    case("no texts at all", "numbers[0].texts_per_second", "more than 0", number="texts_per_second = 0"),
    case("blank reference", "numbers[0].reference", "at least 1", number='reference = ""'),
    case(
        "reference of two numbers",
        "numbers[1].reference",
        "Correct one of the two",
        number='reference = "a"',
        more=PARTS["number"].replace("0199", "0198").lstrip() + 'reference = "a" # HERE',
    ),
    # Programs
    case("program without a name", "programs.x.name", "Add name = ", more="[programs.x]"),
    case("no languages", "programs.deals.languages", "at least 1", program="languages = []"),
    case("unknown language", "programs.deals.languages[2]", "", program='languages = ["en", "fr", "tlh"]'),
    case("language twice", "programs.deals.languages[1]", "Remove it", program='languages = ["en", "en"]'),
    case(
        "opt-in unheard of",
        "programs.deals.opt_in",
        '"single", "double" or "subscribe_first"',
        program='opt_in = "triple"',
    ),
    case(
        "reply missing",
        "programs.deals.replies.en.help",
        'help = "…"',
        replies='[programs.deals.replies.en] # HERE\nopt_in = "a"\nopt_out = "b"',
    ),
    case(
        "question of a double opt-in missing",
        "programs.deals.replies.en.prompt",
        'prompt = "…"',
        program='opt_in = "double"',
        replies=PARTS["replies"].lstrip().replace("en]", "en] # HERE"),
    ),
    case(
        "question about doubtful texts missing",
        "programs.deals.replies.en.doubtful",
        'doubtful = "…"',
        program='doubtful = "ask"',
        replies=PARTS["replies"].lstrip().replace("en]", "en] # HERE"),
    ),
    case("doubts unheard of", "programs.deals.doubtful", '"ask" or "leave"', program='doubtful = "guess"'),
    case("layer unheard of", "programs.deals.layers_off[0]", '"misspelling"', program='layers_off = ["typos"]'),
    case("layer that has to be on", "programs.deals.layers_off[0]", "Remove it", program='layers_off = ["keyword"]'),
    case("blank reply", "programs.deals.replies.en.help", "remove the key", replies='help = " "'),
    case("endless reply", "programs.deals.replies.en.help", "at most 1600", replies=f'help = "{"a" * 1601}"'),
    case("replies in another language", "programs.deals.replies.de", "languages", more="[programs.deals.replies.de]"),
    case("group_id that is a program", "programs.b.group_id", "of its own", more=named_group("deals # HERE")),
    case("group_id twice", "programs.b.group_id", "of its own", program='group_id = "g"', more=named_group("g # HERE")),
    # Keywords
    case("no words", "programs.deals.keywords[1].words", 'words = ["COUPONS", "COUPON"]', more=keyword("")),
    case("word of nothing", "programs.deals.keywords[1].words[0]", "Write a word", more=keyword('words = ["\\u200b"]')),
    case("word twice", "programs.deals.keywords[1].words[0]", "Remove one", more=keyword('words = ["coupons!"]')),
    case("reserved word", "programs.deals.keywords[1].words[1]", "", more=keyword('words = ["A",\n"Stop"]')),
    case("reserved word in French", "programs.deals.keywords[1].words[0]", "", more=keyword('words = ["arret"]')),
    case(
        "answer in another language", "programs.deals.keywords[0].replies.de", "languages", keywords='replies.de = "a"'
    ),
    case(
        "answer that is never sent",
        "programs.deals.keywords[0].replies",
        "intent",
        keywords='intent = "opt_in"\nreplies.en = "a" # HERE',
    ),
    # The file
    case("not TOML", "syntax", "Check quotes", server="[server]\nhost = localhost"),
    case("table twice", "syntax", "second time", server="[server]\n[server]"),
    case("key twice", "syntax", "second time", server="[server]\nport = 1\nport = 2"),
]

NOT_OF_A_LINE = [
    ("programs", "", "Add a table [programs.NAME]"),
    ("file", f"a = {'9' * 5000}", "Shorten that number"),
    ("file", f"a = {'[' * 5000}", "Take out the lists"),
]


@pytest.mark.parametrize("mistake", CASES, ids=lambda mistake: mistake.label)
def test_a_mistake_is_named_with_its_line_its_key_and_a_remedy(read: Read, mistake: Case) -> None:
    source = document(**mistake.edits)
    (line,) = [number for number, line in enumerate(source.splitlines(), 1) if "# HERE" in line]
    with pytest.raises(ConfigurationError) as caught:
        read(source)
    (problem,) = caught.value.problems

    assert (problem.line, problem.key) == (line, mistake.key)
    assert mistake.remedy in problem.remedy
    assert problem.message
    assert problem.remedy


def test_words_with_two_meanings_are_warned_of_with_their_line(read: Read) -> None:
    source = document(program='languages = ["en", "fr", "es"]', keywords='words = ["COUPONS", "LOPETA"]')
    lines = source.splitlines()
    warnings = read(source).warnings
    languages = 1 + next(number for number, line in enumerate(lines) if line.startswith("languages"))
    words = 1 + next(number for number, line in enumerate(lines) if line.startswith("words"))

    assert [(w.line, w.key) for w in warnings if "SI means confirm in es" in w.message] == [
        (languages, "programs.deals.languages")
    ]
    assert [str(w) for w in warnings if w.line == words] == [
        f"line {words}: programs.deals.keywords[0].words[1]: is how people opt out in fi. "
        "Choose another word if people of that language text this number."
    ]
    assert read(document()).warnings == ()


def test_a_program_chooses_layers_and_what_a_doubtful_text_is(read: Read) -> None:
    program = read(
        document(
            program='doubtful = "ask"\nlayers_off = ["misspelling", "phrase"]',
            replies='doubtful = "Reply STOP to stop."',
            keywords="anywhere = true",
        )
    ).programs["deals"]

    assert program.keyword_set.doubtful == "ask"
    assert program.keyword_set.layers_off == {"misspelling", "phrase"}
    assert [keyword.anywhere for keyword in program.keyword_set.custom] == [True]
    assert program.reply_texts["en"]["doubtful"] == "Reply STOP to stop."


@pytest.mark.parametrize(("key", "source", "remedy"), NOT_OF_A_LINE)
def test_a_mistake_of_the_whole_file_has_no_line(read: Read, key: str, source: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(source)
    (problem,) = caught.value.problems

    assert (problem.line, problem.key) == (0, key)
    assert remedy in problem.remedy


def test_a_file_that_is_cut_short_is_named_with_its_last_line(read: Read) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read("[server]\n\n[store")

    assert [(problem.line, problem.key) for problem in caught.value.problems] == [(3, "syntax")]


def test_one_run_finds_every_mistake_of_every_kind(read: Read) -> None:
    source = document(
        server='[server]\nport = "80"\nprot = 1',
        account=f'rings = ["{SECRET}"]\ndedupe_hours = 0',
        number='account = "pots"\ntype = "fax"',
        program='languages = ["en", "tlh"]',
        replies='[programs.deals.replies.en]\nopt_in = "a"\nopt_out = "b"',
        keywords='words = ["STOP", "A"]',
        sends="perch = true",
        destination='url = "http://127.0.0.1"\ntimeout_seconds = -1',
        more=keyword('words = ["a", ""]\n[programs.deals.destinations.gone]'),
    )
    with pytest.raises(ConfigurationError) as caught:
        read(source)

    assert [problem.key for problem in caught.value.problems] == [
        "server.port",
        "server.prot",
        "accounts.post.rings[0]",
        "accounts.post.dedupe_hours",
        "numbers[0].account",
        "numbers[0].type",
        "programs.deals.languages[1]",
        "programs.deals.replies.en.help",
        "programs.deals.keywords[0].words[0]",
        "programs.deals.destinations.crm.perch",
        "destinations.crm.timeout_seconds",
        "programs.deals.keywords[1].words[1]",
        "programs.deals.destinations.gone",
    ]
    assert SECRET not in str(caught.value)


def test_bytes_that_are_no_text_are_named_with_their_line(read: Read) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(b"[server]\n\nhost = '\xff'\n")

    assert [(problem.line, problem.message) for problem in caught.value.problems] == [(3, "is not UTF-8.")]


def test_a_file_that_is_not_there_is_a_configuration_error(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.toml: 1 problem\(s\)\n  file: cannot be read"):
        load(folder / "gone.toml")


def test_the_report_has_one_line_for_each_mistake(read: Read) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(document(server='[server]\n"a\\nb" = 1\nprot = 1'))

    assert len(str(caught.value).splitlines()) == 3


def test_no_secret_shows_in_the_settings(read: Read) -> None:
    settings = read(document(api='[api]\ntokens = ["file:ring"]', store='[store]\npassword = "env:KEYROUTE_TEST_RING"'))

    assert settings.api.tokens[0].reveal() == SECRET
    assert settings.store.password
    assert settings.store.password.reveal() == SECRET
    assert SECRET not in repr(settings) + str(settings)


SECRET_PLACES = [
    ("api.tokens", '[api]\ntokens = ["{}"]'),
    ("api.tokens as a text", '[api]\ntokens = "{}"'),
    ("store.password", '[store]\npassword = "{}"'),
    ("store.url", '[store]\nurl = "redis://:{}@localhost/0"'),
    ("an adapter's", '[accounts.x]\ncarrier = "pigeon"\nrings = ["{}"]'),
    ("an adapter's as a text", '[accounts.x]\ncarrier = "pigeon"\nrings = "{}"'),
    ("under a misspelt key", '[accounts.x]\ncarrier = "pigeon"\nring = "{}"'),
    ("an optional one", '[destinations.x]\nplatform = "loft"\nurl = "https://a.example"\nkey = "{}"'),
    ("in a table", '[destinations.x]\nplatform = "loft"\nurl = "https://a.example"\nkey = {{ a = "{}" }}'),
    ("beside a syntax error", '[api]\ntokens = ["{}"'),
]


@pytest.mark.parametrize(("label", "part"), SECRET_PLACES, ids=[label for label, _ in SECRET_PLACES])
def test_a_secret_written_into_the_file_is_not_repeated(read: Read, label: str, part: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(document(more=part.format(SECRET)))

    assert SECRET not in str(caught.value) + repr(caught.value) + repr(caught.value.problems)
    assert caught.value.__cause__ is None


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
KNOWN_KEYS = sorted(
    {key for line in document().splitlines() for key in re.findall(r"[a-z_]+", line)}
    | {
        name
        for model in (Settings, Account, Number, Program, Replies, Keyword, Destination)
        for name in model.model_fields
    }
)
SCALARS = st.one_of(
    TEXTS,
    st.sampled_from(
        [*KNOWN_KEYS, "file:ring", "file:", "env:", "env:\0", "+14155550199", "https://a.example", "en", "tlh"]
    ),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.datetimes(),
    st.dates(),
)
KEYS = st.sampled_from(KNOWN_KEYS) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=10
)


def written(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(key)} = {written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def mutated(draw: st.DrawFn, value: Any, depth: int = 0) -> Any:
    """The document with something in it changed, added or left out."""
    if isinstance(value, dict) and value and depth < 4 and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(value)))
        return value | {key: mutated(draw, value[key], depth + 1)}
    if isinstance(value, list) and value and depth < 4 and draw(st.booleans()):
        position = draw(st.integers(0, len(value) - 1))
        return [*value[:position], mutated(draw, value[position], depth + 1), *value[position:]]
    if isinstance(value, dict) and draw(st.booleans()):
        left_out = draw(st.sampled_from([*sorted(value), ""]))
        return {key: inner for key, inner in value.items() if key != left_out} | draw(
            st.dictionaries(KEYS, VALUES, max_size=2)
        )
    return draw(VALUES)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A valid document with up to three changes anywhere, or one of nothing but chance."""
    found: dict[str, Any] = draw(st.dictionaries(KEYS, VALUES, max_size=4))
    if draw(st.integers(0, 4)):
        found = tomllib.loads(document())
        for _ in range(draw(st.integers(1, 3))):
            key = draw(st.sampled_from(sorted(found)))
            found = found | {key: mutated(draw, found[key])}
    return "\n".join(f"{written(key)} = {written(value)}" for key, value in found.items())


def attempt(read: Read, source: str | bytes) -> Settings | ConfigurationError:
    """The settings, or why the file is refused."""
    try:
        return read(source)
    except ConfigurationError as error:
        return error


@given(documents())
def test_no_document_raises_anything_but_a_configuration_error(read: Read, source: str) -> None:
    found = attempt(read, source)
    problems = found.problems if isinstance(found, ConfigurationError) else ()

    assert isinstance(found, Settings) or problems
    assert all(problem.key and problem.message and problem.remedy for problem in problems)
    assert all(0 <= problem.line <= source.count("\n") + 1 for problem in problems)
    assert SECRET not in str(found)


@given(st.binary(max_size=60) | st.text(st.characters(codec="utf-8"), max_size=60).map(str.encode))
def test_no_bytes_raise_anything_but_a_configuration_error(read: Read, source: bytes) -> None:
    assert isinstance(attempt(read, source), ConfigurationError)
    assert SECRET not in str(attempt(read, document().encode() + source))


@given(TEXTS)
def test_a_keyword_that_is_accepted_is_one_that_can_be_matched(read: Read, word: str) -> None:
    found = attempt(read, document(keywords=f"words = [{written(word)}]"))
    program = found.programs["deals"] if isinstance(found, Settings) else None
    custom = tuple(CustomKeyword(word) for keyword in program.keywords for word in keyword.words) if program else ()
    rule = RuleBook([KeywordSet("deals", ("en", "fr"), custom)]).find("deals", word).rule

    assert program is None or (rule and rule.name) == f"custom:deals/{word}"


SECTIONS: dict[str, type[Table]] = {
    "server": Server,
    "store": Store,
    "api": Api,
    "limits": Limits,
    "worker": Worker,
    "ledger": Ledger,
}
SHOWN_ELSEWHERE = {"programs.ID.replies", "programs.ID.keywords", "api.keys"}


def test_the_readme_lists_every_key_and_its_default() -> None:
    tables: list[tuple[type[BaseModel], str]] = [
        *((model, name) for name, model in SECTIONS.items()),
        (ApiKey, "api.keys.NAME"),
        (Account, "accounts.NAME"),
        (Number, "numbers"),
        (Program, "programs.ID"),
        (Replies, "programs.ID.replies.LANG"),
        (Keyword, "programs.ID.keywords"),
        (Destination, "destinations.NAME"),
    ]
    keys = {key: plain(default) for model, place in tables for key, default in keys_of(model, place).items()}
    expected = {key: default for key, default in keys.items() if key not in SHOWN_ELSEWHERE}
    documented = documented_keys((ROOT / "README.md").read_text().partition("\n## Settings\n")[2].partition("\n## ")[0])
    stated = {key for key, default in expected.items() if default is not None}

    assert documented.keys() == expected.keys()
    assert {key: json.loads(documented[key].strip("`")) for key in stated} == {key: expected[key] for key in stated}


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("", "{folder}/data/ledger"),
        ('[store]\ndata = "elsewhere"', "{folder}/elsewhere/ledger"),
        ('[ledger]\nurl = "proof"', "{folder}/proof"),
        ('[ledger]\nurl = "/srv/proof"', "/srv/proof"),
        ('[ledger]\nurl = "s3://bucket/proof"', "s3://bucket/proof"),
    ],
)
def test_the_ledger_lies_in_the_data_folder_unless_another_place_is_named(read: Read, written: str, url: str) -> None:
    settings = read(document(more=written))

    assert settings.ledger.url == url.format(folder=settings.path.parent)
