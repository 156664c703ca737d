"""The documents say what the code says: each carrier's keys and their defaults; their examples can be used."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic_core import PydanticUndefined

from router import registry
from router.config import Settings, load
from router.ports import Carrier
from router.routing import Routing
from router.types import NumberType
from tests.certificates import KEY
from tests.tables import documented_keys, keys_of, plain

ROOT = Path(__file__).parent.parent
OURS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["router.carriers"]
HEAD, *PARTS = (ROOT / "docs" / "carriers.md").read_text().split("\n## ")
SECTIONS = {part.partition("\n")[0]: part.partition("\n")[2] for part in PARTS}
#: The first table of the page: a row for each carrier.
OVERVIEW = {row[0]: row[1:] for row in re.findall(r"(?m)^\| \[`(\w+)`\]\(#\1\)" + r" \| ([^|]+)" * 7 + r" \|$", HEAD)}
#: The kinds of numbers that the last columns of that table are about.
NUMBERS: list[tuple[NumberType, str | None]] = [
    ("long_code", "US"),
    ("toll_free", "US"),
    ("short_code", None),
    ("long_code", "GB"),
]
WRITING = (ROOT / "docs" / "writing-a-carrier.md").read_text()
ACME = ROOT / "examples" / "acme-carrier"
#: What any secret in an example is, but a private key. As a webhook secret it is Base64.
SECRET = "0123456789abcdef0123456789abcdef"

each_carrier = pytest.mark.parametrize("carrier", sorted(OURS))


def blocks(document: str, language: str) -> list[str]:
    """The blocks of code of a language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", document)


def example(carrier: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The example in a carrier's section, loaded from a folder, with its secrets there."""
    (source,) = blocks(SECTIONS[carrier], "toml")
    for variable in re.findall(r'"env:(\w+)"', source):
        monkeypatch.setenv(variable, SECRET)
    for name in re.findall(r'"file:([\w.]+)"', source):
        private_key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        (folder / name).write_text(private_key if name == "private.key" else SECRET)
    path = folder / "keyroute.toml"
    path.write_text(source)
    return load(path)


def as_documented(default: object) -> object:
    """What is to be read in the column of defaults."""
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, Mapping):
        return "none"
    return "not set" if default is None else plain(default)


def by_default(settings: Settings) -> Carrier:
    """The carrier of the only account, with what it can be told to do differently left alone."""
    ((name, account),) = settings.accounts.items()
    options = type(account.options)
    defaults = {key: field.default for key, field in options.model_fields.items() if isinstance(field.default, bool)}
    carrier: Any = registry.carrier(account.carrier)
    made: Carrier = carrier(name, account.options.model_copy(update=defaults), account.public_url)
    return made


def test_every_carrier_has_a_section_and_a_row_in_alphabetical_order() -> None:
    assert list(SECTIONS) == list(OVERVIEW) == sorted(OURS)


@each_carrier
def test_a_section_lists_every_key_of_its_carrier_and_its_default(carrier: str) -> None:
    found = documented_keys(SECTIONS[carrier])
    defaults = {key: json.loads(text.strip("`")) if text.startswith("`") else text for key, text in found.items()}
    keys = keys_of(registry.carrier(carrier).Options, "accounts.NAME")

    assert defaults == {key: as_documented(default) for key, default in keys.items()}


@each_carrier
def test_the_example_of_a_section_can_be_used_and_people_get_replies(
    carrier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = example(carrier, tmp_path, monkeypatch)

    assert [account.carrier for account in settings.accounts.values()] == [carrier]
    assert settings.warnings == ()
    assert Routing(settings).silent_accounts() == []


@each_carrier
def test_the_first_table_says_what_a_carrier_does_by_default(
    carrier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = by_default(example(carrier, tmp_path, monkeypatch))
    _, replies, again, *answered = OVERVIEW[carrier]

    assert replies == ("in the answer" if made.replies_inline else "sent")
    assert again == ("yes" if made.retries else "no")
    assert [who != "keyroute" for who in answered] == ["opt_out" in made.answers_itself(*kind) for kind in NUMBERS]


@pytest.mark.parametrize("language", ["toml", "python", "json"])
def test_the_code_of_the_page_on_writing_a_carrier_is_that_of_the_example(language: str) -> None:
    files = [path.read_text() for path in (*ACME.glob("*.toml"), *ACME.glob("*.py"), *ACME.glob("samples/*.json"))]
    shown = blocks(WRITING, language)

    assert shown
    assert [block for block in shown if not any(block in file for file in files)] == []


def test_the_page_on_writing_a_carrier_has_no_other_code_than_that_and_commands() -> None:
    languages = re.findall(r"(?m)^```(.+)$", WRITING)

    assert set(languages) == {"toml", "python", "json", "sh"}
    assert WRITING.count("```") == 2 * len(languages)
