"""The commands that need no server, as an operator runs them: exit code, output, errors."""

import hashlib
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from router.config import PERMISSIONS
from tests.running import KEYROUTE, write_configuration

ROOT = Path(__file__).parent.parent


def keyroute(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([KEYROUTE, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False)


def lines(ran: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The JSON objects printed by a command that succeeded."""
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_help_names_every_command() -> None:
    ran = keyroute("--help")
    named = re.findall(r"(?m)^  ([a-z]+)  +[A-Z]", ran.stdout.partition("Commands:")[2])
    sources = [path for path in (ROOT / "router" / "cli").glob("*.py") if "\ndef command(" in path.read_text()]
    files = {path.stem.removesuffix("_") for path in sources}  # import_: a word of Python's own

    assert ran.returncode == 0
    assert set(named) == files
    assert all(f"`keyroute {command}" in (ROOT / "README.md").read_text() for command in named)


def test_match_without_a_configuration_knows_the_words_of_every_language() -> None:
    found = lines(keyroute("match", stdin="Stop please!!\narrêt\nДА\nhelp\nwhere is my parcel\n\n"))

    assert [line["intent"] for line in found] == ["opt_out", "opt_out", "confirm", "help", "none", "none"]
    assert list(found[0]) == [
        *("text", "intent", "keyword", "argument", "program", "language", "rule", "reply"),
        *("layer", "start", "end", "folded"),
    ]
    assert found[1]["rule"] == "keyword:fr/ARRÊT"


def test_match_hears_only_the_languages_it_is_told() -> None:
    (found,) = lines(keyroute("match", "--languages", "en", stdin="arrêt\n"))

    assert found["intent"] == "none"


def test_match_says_where_and_how_it_found_a_meaning() -> None:
    found = lines(keyroute("match", "--languages", "en", stdin="Hi! Take me OFF your list\nSTPO\nhello\n"))

    assert [(line["layer"], line["rule"], line["start"], line["end"], line["folded"]) for line in found] == [
        ("phrase", "phrase:en/off-list", 4, 25, "take me off your list"),
        ("misspelling", "keyword:en/STOP (misspelling)", 0, 4, "stpo"),
        (None, None, None, None, None),
    ]


def test_match_reads_a_line_of_an_unknown_language_in_all_languages() -> None:
    (found,) = lines(keyroute("match", "--json-lines", stdin='{"text": "arrêt", "language": "tlh"}\n'))

    assert found["intent"] == "opt_out"


def test_match_reads_json_lines_with_a_language_each() -> None:
    texts = [{"text": "arrêt", "language": "fr"}, {"text": "arrêt", "language": "de"}, {"text": "a\nb", "to_type": "x"}]
    found = lines(keyroute("match", "--json-lines", stdin="".join(json.dumps(text) + "\n" for text in texts)))

    assert [line["intent"] for line in found] == ["opt_out", "none", "none"]


@pytest.mark.parametrize("line", ["not json", "[]", "{}", '{"text": 5}', '{"text": "x", "language": 5}'])
def test_match_says_which_line_it_cannot_read(line: str) -> None:
    ran = keyroute("match", "--json-lines", stdin=f'{{"text": "ok"}}\n{line}\n')

    assert ran.returncode != 0
    assert "line 2" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_match_with_a_configuration_replies_as_the_server_would(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    ran = keyroute("match", "--config", config, "--to", "20202", "--state", "pending", stdin="yes\nCOUPONS\nAIDE\n")

    assert [(line["intent"], line["reply"]) for line in lines(ran)] == [
        ("confirm", "Welcome to Deals."),
        ("custom", "Ten percent off & more."),
        ("help", "Aide : appelez le 555."),
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--to", "20202"], "--to means nothing without --config. Add --config FILE, or remove it."),
        (["--state", "pending"], "--state means nothing without --config."),
        (["--config", "keyroute.toml"], "Add --to NUMBER"),
        (
            ["--config", "keyroute.toml", "--to", "20202", "--languages", "en"],
            "--languages means nothing with --config.",
        ),
        (["--number-type", "fax"], "fax"),
        (["--languages", "xx"], "there are no keywords for the language 'xx'"),
        (["--state", "maybe"], "maybe"),
    ],
)
def test_match_says_what_is_wrong_with_its_options(arguments: list[str], says: str) -> None:
    ran = keyroute("match", *arguments, stdin="x\n")

    assert ran.returncode == 2
    assert says in ran.stderr


@pytest.mark.parametrize(
    ("kind", "intents"),
    [
        ("long_code", ["opt_out", "opt_out", "opt_in", "help", "confirm"]),
        ("toll_free", ["opt_out", "opt_out", "opt_in", "help", "confirm"]),
        ("short_code", ["opt_out", "opt_out", "none", "none", "none"]),
        ("whatsapp", ["none"] * 5),
    ],
)
def test_match_knows_what_counts_on_which_kind_of_number(kind: str, intents: list[str]) -> None:
    found = lines(keyroute("match", "--number-type", kind, stdin="stop\ntake me off this list\nstart\nhelp\nyes\n"))

    assert [line["intent"] for line in found] == intents


@pytest.mark.parametrize(
    ("state", "text", "program", "reply"),
    [
        # Only who has something to choose from is asked what to keep.
        ("subscribed", "STOP", "deals", "You get nothing more. Reply KEEP DEALS or KEEP ALERTS to keep one."),
        ("none", "STOP", "deals", "You get no more Deals."),
        ("subscribed", "STOP ALERTS", "alerts", "You get no more Alerts."),
        ("choosing", "KEEP ALERTS", "alerts", "Welcome to Alerts."),
        ("choosing", "STOP", "deals", None),
    ],
)
def test_match_replies_on_a_shared_number_as_the_store_would(
    tmp_path: Path, state: str, text: str, program: str, reply: str | None
) -> None:
    config = write_configuration(tmp_path)
    shared = config.read_text().replace('program = "deals"', 'program = ["deals", "alerts"]')
    choice = 'choice = "You get nothing more. Reply KEEP DEALS or KEEP ALERTS to keep one."'
    config.write_text(
        shared.replace('opt_out = "You get no more Deals."', f'opt_out = "You get no more Deals."\n{choice}')
    )
    (found,) = lines(keyroute("match", "--config", config, "--to", "20202", "--state", state, stdin=f"{text}\n"))

    assert (found["program"], found["reply"]) == (program, reply)


def test_match_leaves_to_the_carrier_what_that_answers(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    config.write_text(config.read_text().replace("carrier_answers = []\n", ""))
    found = lines(keyroute("match", "--config", config, "--to", "+14155550199", stdin="STOP\nStop please!!\n"))

    assert [(line["intent"], line["reply"]) for line in found] == [
        ("opt_out", None),
        ("opt_out", "You get no more Alerts."),
    ]


def test_match_says_that_nobody_can_text_a_name(tmp_path: Path) -> None:
    ran = keyroute("match", "--config", write_configuration(tmp_path), "--to", "ACME", stdin="x\n")

    assert ran.returncode == 2
    assert "nobody can text 'ACME'. Write one of the numbers in" in ran.stderr


def test_match_names_a_number_that_is_not_configured(tmp_path: Path) -> None:
    ran = keyroute("match", "--config", write_configuration(tmp_path), "--to", "+14155550000", stdin="x\n")

    assert ran.returncode == 2
    assert "[[numbers]]" in ran.stderr


def test_check_accepts_a_good_file_and_lists_every_mistake_of_a_bad_one(tmp_path: Path) -> None:
    good = keyroute("check", write_configuration(tmp_path))
    bad_file = write_configuration(tmp_path, extra='[server]\nport = "x"\n[limits2]\n')
    bad = keyroute("check", bad_file)

    assert (good.returncode, good.stdout) == (
        0,
        f"{bad_file}: good. 1 account(s), 2 number(s), 2 program(s), 0 destination(s).\n",
    )
    assert bad.returncode == 2
    assert "line" in bad.stderr
    assert "server.port" in bad.stderr
    assert "limits2" in bad.stderr


def test_check_warns_of_words_with_two_meanings(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    config.write_text(config.read_text().replace('languages = ["en", "fr"]', 'languages = ["en", "fr", "es"]'))
    ran = keyroute("check", config)

    assert ran.returncode == 0
    assert re.search(
        r"(?m)^warning: line \d+: programs.deals.languages: SI means confirm in es, and in fr “if”. ", ran.stderr
    )


def test_lookup_of_a_stranger_and_of_what_is_no_number(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)

    assert json.loads(keyroute("lookup", "+14155550101", "--config", config).stdout) == {
        "number": "+14155550101",
        "known": False,
        "programs": {},
        "consent": {},
        "aliases": [],
        "language": None,
        "blocked": [],
    }
    assert "Write it as +14155550101" in keyroute("lookup", "nobody at all", "--config", config).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["show", "0-1-1"], 1, "`keyroute dead list` shows"),
        (["show", "nonsense"], 1, "`keyroute dead list` shows"),
        (["retry"], 2, "--all"),
        (["drop", "--destination", "crm", "0-1-1"], 2, "--destination goes with --all"),
    ],
)
def test_dead_says_what_to_do_instead(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    ran = keyroute("dead", *arguments, "--config", write_configuration(tmp_path))

    assert ran.returncode == code
    assert says in ran.stderr


def test_a_store_set_up_with_other_shards_is_refused_with_what_to_write(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    keyroute("lookup", "+14155550101", "--config", config)
    config.write_text(config.read_text().replace("shards = 4", "shards = 5"))
    ran = keyroute("lookup", "+14155550101", "--config", config)

    assert ran.returncode == 1
    assert "Set store.shards = 4" in ran.stderr


def test_a_new_key_is_shown_beside_the_lines_for_the_configuration_which_hold_its_hash_alone(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    made = keyroute("key", "forms", "--permission", "users.track", "--permission", "subscription.status.set")
    key = re.findall(r"again: (\S{40,})$", made.stderr, re.MULTILINE)[0]
    config.write_text(config.read_text() + made.stdout)
    checked = keyroute("check", config)

    assert checked.returncode == 0, checked.stderr
    assert tomllib.loads(made.stdout) == {
        "api": {
            "keys": {
                "forms": {
                    "sha256": hashlib.sha256(key.encode()).hexdigest(),
                    "permissions": ["users.track", "subscription.status.set"],
                }
            }
        }
    }
    assert keyroute("key").stderr != keyroute("key").stderr


def test_a_new_key_without_permissions_named_has_all_and_a_wrong_one_is_refused() -> None:
    assert set(tomllib.loads(keyroute("key").stdout)["api"]["keys"]["app"]["permissions"]) == set(PERMISSIONS)
    wrong = keyroute("key", "--permission", "users.delete")

    assert wrong.returncode == 2
    assert "users.track" in wrong.stderr
    assert "a-z" in keyroute("key", "My Key").stderr


def test_check_warns_of_events_that_subscribe_to_a_program_that_nobody_can_be_texted_by(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    config.write_text(config.read_text().replace("[programs.deals]", '[programs.deals]\nopt_in_events = ["captured"]'))
    ran = keyroute("check", config)

    assert ran.returncode == 0
    assert "programs.deals.opt_in_events" in ran.stderr
