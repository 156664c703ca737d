"""A place in a document is found on the line where it was written."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config.toml_lines import Loc, TomlLines

DOCUMENT = """\
# a comment
title.short = 1
"two words" = [
  1, # one
  { x = 2, y.z = 3 },

  [ 4,
    5 ],
]

[server]
port = 8080
text = '''
[not.a.table]
'''

[[numbers]]
number = "+1"

[[ numbers ]]
number = "+2"

[programs.deals.replies.en]
help = "é"

[programs.deals]
name = "x"

[[programs.deals.keywords]]
words = ["A", "B"]
[programs.deals.keywords.replies]
en = "1"
[[programs.deals.keywords]]
words = ["C"]
[programs.deals.keywords.replies]
"e\\u006e" = "2"
"""

PLACES: list[tuple[Loc, int]] = [
    (("title",), 2),
    (("title", "short"), 2),
    (("two words",), 3),
    (("two words", 0), 4),
    (("two words", 1), 5),
    (("two words", 1, "y", "z"), 5),
    (("two words", 2, 1), 8),
    (("server",), 11),
    (("server", "text"), 13),
    (("numbers",), 17),
    (("numbers", 0, "number"), 18),
    (("numbers", 1), 20),
    (("numbers", 1, "number"), 21),
    (("programs",), 23),
    (("programs", "deals"), 26),
    (("programs", "deals", "replies", "en", "help"), 24),
    (("programs", "deals", "keywords", 0, "words", 1), 30),
    (("programs", "deals", "keywords", 0, "replies", "en"), 32),
    (("programs", "deals", "keywords", 1, "words", 0), 34),
    (("programs", "deals", "keywords", 1, "replies", "en"), 36),
]


@pytest.mark.parametrize(("loc", "line"), PLACES, ids=[str(loc) for loc, _ in PLACES])
def test_a_place_has_its_line(loc: Loc, line: int) -> None:
    assert TomlLines(DOCUMENT).line(loc) == line


def test_what_is_not_there_has_the_line_of_the_nearest_table_around_it() -> None:
    lines = TomlLines(DOCUMENT)

    assert lines.line(("server", "host")) == 11
    assert lines.line(("numbers", 1, "account")) == 20
    assert lines.line(("programs", "deals", "replies", "fr", "help")) == 23
    assert lines.line(("accounts", "twilio")) == 0


def test_line_ends_of_windows_count_once() -> None:
    assert TomlLines("a = 1\r\n\r\nb = 2\r\n").line(("b",)) == 3


KEYS = st.text(st.characters(codec="utf-8"), max_size=5)
VALUES = st.recursive(
    st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def written(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return str(value)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=4), st.integers(0, 2))
def test_every_key_is_found_whatever_it_is_called(document: dict[str, dict[str, Any]], gap: int) -> None:
    source: list[str] = []
    expected: dict[Loc, int] = {}
    for name, table in document.items():
        source += ["#"] * gap + [f"[{quoted(name)}]"]
        expected[name,] = len(source)
        for key, value in table.items():
            source += [""] * gap + [f"{quoted(key)} = {written(value)} # {key.encode()!r}"]
            expected[name, key] = len(source)
            expected |= dict.fromkeys(places(value, (name, key)), len(source))
    text = "\n".join(source)
    lines = TomlLines(text)

    assert tomllib.loads(text) == document
    assert {loc: lines.line(loc) for loc in expected} == expected


def places(value: Any, at: Loc) -> list[Loc]:
    """Every place inside a value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in parts for place in [(*at, key), *places(inner, (*at, key))]]
