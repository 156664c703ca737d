"""Files of consent: which rows count, and what they change, on a real store."""

from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from router.errors import UnusableFile
from router.imports.job import Job, Options
from router.imports.records import LONGEST_LINE
from router.store import Consent, Directory, People, Store
from tests.commits import Clock
from tests.importing import (
    ANN,
    BEN,
    CLEO,
    GROUPS,
    HEADER,
    PROOF,
    changes,
    consents,
    entries,
    give,
    imported,
    read_report,
    states,
)

SUBSCRIBED, OUT = {"deals": "subscribed"}, {"deals": "unsubscribed"}
LONG = "x" * LONGEST_LINE


@dataclass(frozen=True)
class Case:
    """A file, whose states follow from it, and what is said of the rows that are refused."""

    rule: str
    content: str | bytes
    states: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)


def rows(*lines: str) -> str:
    """A file of the three columns."""
    return HEADER + "".join(f"{line}\n" for line in lines)


CASES = [
    Case(
        "a row for each person",
        rows(f"{ANN},g-deals,subscribed", f"{BEN},g-deals,unsubscribed"),
        {ANN: SUBSCRIBED, BEN: OUT},
    ),
    Case("a program by its own id too", rows(f"{ANN},deals,subscribed"), {ANN: SUBSCRIBED}),
    Case(
        "several groups for one person",
        rows(f"{ANN},g-deals,subscribed", f"{ANN},alerts,unsubscribed"),
        {ANN: {"deals": "subscribed", "alerts": "unsubscribed"}},
    ),
    Case(
        "columns in any order",
        f"subscription_state,phone,subscription_group_id\nsubscribed,{ANN},deals\n",
        {ANN: SUBSCRIBED},
    ),
    Case(
        "other columns are nothing to us",
        f"first_name,{HEADER.strip()},dob\nAnn,{ANN},deals,subscribed,1980-01-01\n",
        {ANN: SUBSCRIBED},
    ),
    Case("a mark of byte order", b"\xef\xbb\xbf" + rows(f"{ANN},deals,subscribed").encode(), {ANN: SUBSCRIBED}),
    Case(
        "a mark before quotes",
        b'\xef\xbb\xbf"phone","subscription_group_id","subscription_state"\n'
        + f'"{ANN}","deals","subscribed"'.encode(),
        {ANN: SUBSCRIBED},
    ),
    Case("lines that end as in Windows", rows(f"{ANN},deals,subscribed").replace("\n", "\r\n"), {ANN: SUBSCRIBED}),
    Case(
        "blank lines",
        rows(f"{ANN},deals,subscribed", "", "", f"{BEN},x,subscribed"),
        {ANN: SUBSCRIBED},
        {5: "no program has"},
    ),
    Case("a header alone", HEADER),
    Case("blanks round cells, a state in capitals", rows(f" {ANN} , deals , SUBSCRIBED "), {ANN: SUBSCRIBED}),
    Case("a number with marks between digits", rows("+1 (415) 555-0101,deals,subscribed"), {ANN: SUBSCRIBED}),
    Case("a user id of WhatsApp", rows("US.13491234567,deals,subscribed"), {"US.13491234567": SUBSCRIBED}),
    Case("a number that no plan has", rows("+999123456789,deals,subscribed"), {"+999123456789": SUBSCRIBED}),
    Case(
        "quotes doubled in a quoted cell",
        f'{HEADER.strip()},name\n{ANN},deals,subscribed,"Ann ""A"", O"\n',
        {ANN: SUBSCRIBED},
    ),
    Case(
        "a cell of several lines",
        f'{HEADER.strip()},note\n{ANN},deals,subscribed,"one\ntwo"\n{BEN},x,subscribed,\n',
        {ANN: SUBSCRIBED},
        {4: "no program has"},
    ),
    Case("blank cells leave unchanged", rows(f"{ANN},,", f"{BEN},deals,subscribed"), {ANN: {}, BEN: SUBSCRIBED}),
    Case("a duplicate", rows(f"{ANN},deals,subscribed", f"{ANN},deals,subscribed"), {ANN: SUBSCRIBED}),
    Case(
        "of contradictory duplicates, the opt-out",
        rows(
            f"{ANN},deals,unsubscribed",
            f"{ANN},deals,subscribed",
            f"{BEN},deals,subscribed",
            f"{BEN},deals,unsubscribed",
        ),
        {ANN: OUT, BEN: OUT},
        {3: "opted out on"},
    ),
    Case(
        "too few cells",
        rows(f"{ANN},deals", f"{BEN},deals,subscribed"),
        {ANN: {}, BEN: SUBSCRIBED},
        {2: "it has 2 cells, the header has 3"},
    ),
    Case("too many cells", rows(f"{ANN},deals,subscribed,"), {ANN: {}}, {2: "it has 4 cells, the header has 3"}),
    Case("a group without a state", rows(f"{ANN},deals,"), {ANN: {}}, {2: "its subscription_state is blank"}),
    Case("a state without a group", rows(f"{ANN},,subscribed"), {ANN: {}}, {2: "its subscription_group_id is blank"}),
    Case("an unknown group", rows(f"{ANN},nope,subscribed"), {ANN: {}}, {2: "Write one of: g-deals, alerts."}),
    Case("an unknown state", rows(f"{ANN},deals,pending"), {ANN: {}}, {2: "Write subscribed or unsubscribed"}),
    Case("no phone", rows(",deals,subscribed"), {}, {2: "its phone is blank"}),
    Case("a phone without +", rows("14155550101,deals,subscribed"), {ANN: {}}, {2: "no + in front"}),
    Case("a phone with 00", rows("0014155550101,deals,subscribed"), {ANN: {}}, {2: "no + in front"}),
    Case(
        "a phone that a spreadsheet has shortened",
        rows("1.41556E+10,deals,subscribed"),
        {},
        {2: "a spreadsheet has shortened"},
    ),
    Case("a short code", rows("20202,deals,subscribed"), {"20202": {}}, {2: "is not a phone number"}),
    Case("a name", rows("ACME,deals,subscribed"), {"ACME": {}}, {2: "is not a phone number"}),
    Case(
        "a row that is not UTF-8",
        rows(f"{ANN},deals,subscribed").encode() + b"\xff,deals,subscribed\n" + f"{BEN},deals,subscribed\n".encode(),
        {ANN: SUBSCRIBED, BEN: SUBSCRIBED},
        {3: "not UTF-8"},
    ),
    Case(
        "a quote that is not closed",
        rows(f'"{ANN},deals,subscribed', f"{BEN},deals,subscribed"),
        {BEN: SUBSCRIBED},
        {2: "a quote opens and does not close"},
    ),
    Case(
        "a quote that the next one closes",
        rows(f'"{ANN},deals,subscribed', f"{BEN},deals,subscribed", f'{CLEO},"deals",subscribed'),
        {BEN: SUBSCRIBED, CLEO: SUBSCRIBED},
        {2: "uote"},
    ),
    Case(
        "a quote that swallows whole rows",
        f'note,{HEADER}"a,{ANN},deals,subscribed\nb,{BEN},deals,subscribed\nc",{CLEO},deals,subscribed\n',
        {CLEO: SUBSCRIBED},
    ),
    Case(
        "a line that has no end",
        rows(f"{ANN},{LONG},subscribed", f"{BEN},deals,subscribed"),
        {BEN: SUBSCRIBED},
        {2: "longer than"},
    ),
    Case(
        "junk",
        rows("\x00", "=cmd()", '"', ",,,,,,", f"{BEN},deals,subscribed"),
        {BEN: SUBSCRIBED},
        {2: "cells", 3: "cells", 4: "", 5: "cells"},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
async def test_rules(case: Case, store: Store, tmp_path: Path) -> None:
    found = await imported(store, tmp_path, case.content)

    assert {sender: await states(store, sender) for sender in case.states} == case.states
    assert found.refused.keys() == case.refused.keys()
    assert [line for line, reason in case.refused.items() if reason not in found.refused[line]] == []
    assert found.done.end.refused == len(case.refused)


UNUSABLE = [
    ("empty", b"", "it is empty"),
    ("UTF-16", HEADER.encode("utf-16"), "Save it in the encoding UTF-8"),
    ("a header that is not UTF-8", b"phone,\xff\n", "not UTF-8"),
    ("a header with a quote that is not closed", b'phone,"x\n' + HEADER.encode(), "its header cannot be read"),
    ("no phone", b"Phone,subscription_group_id,subscription_state\n", "'Phone' is not the same"),
    ("no identifier", b"email,subscription_group_id,subscription_state\n", "no column phone"),
    (
        "a group without a state",
        b"phone,subscription_group_id,Subscription State\n",
        "'Subscription State' is not the same",
    ),
    ("a state without a group", b"phone,subscription_state\n", "no subscription_group_id"),
    ("nothing of consent", b"phone,first_name\n", "Add the columns"),
    ("a column twice", b"phone,phone,subscription_group_id,subscription_state\n", "two columns phone"),
    ("semicolons", b"phone;subscription_group_id;subscription_state\n", "commas between cells"),
    ("tabs", b"phone\tsubscription_group_id\tsubscription_state\n", "commas between cells"),
    (
        "lines that end as once on a Mac",
        b"phone,subscription_group_id,subscription_state\r+1,deals,subscribed\r",
        "each row ends with its line",
    ),
    ("events", b"external_id,name,time,buy.properties.sku\n", "a file of events"),
    ("an id and an alias", b"external_id,user_alias_name,user_alias_label,phone\n", "an alias"),
]


@pytest.mark.parametrize(("content", "remedy"), [row[1:] for row in UNUSABLE], ids=[row[0] for row in UNUSABLE])
async def test_a_file_that_cannot_be_used_is_refused_as_a_whole(
    content: bytes, remedy: str, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(UnusableFile) as refused:
        await imported(store, tmp_path, content)

    assert remedy in str(refused.value)


#: The clock of the tests, in µs, and times before it.
NOW = 1_800_000_000_000_000
EARLY, DATE, LATE = NOW - 3_000_000, NOW - 2_000_000, NOW - 1_000_000
IN, NOT = "subscribed", "unsubscribed"

#: What is on record, what the row says, its date and whether opt-outs are overridden; the state then, since when, and
#: whether the row is refused.
PRECEDENCE = [
    ("nothing, in", {}, IN, None, False, IN, NOW, False),
    ("nothing, in as of a date", {}, IN, DATE, False, IN, DATE, False),
    ("nothing, out", {}, NOT, None, False, NOT, NOW, False),
    ("in, out", {"deals": f"{IN} {EARLY}"}, NOT, None, False, NOT, NOW, False),
    (
        "out, in: any opt-out is later than a file without a date",
        {"deals": f"{NOT} {EARLY}"},
        IN,
        None,
        False,
        NOT,
        EARLY,
        True,
    ),
    ("out, in, overriding", {"deals": f"{NOT} {EARLY}"}, IN, None, True, IN, NOW, False),
    ("out earlier, in as of a date", {"deals": f"{NOT} {EARLY}"}, IN, DATE, False, IN, DATE, False),
    ("out later, in as of a date", {"deals": f"{NOT} {LATE}"}, IN, DATE, False, NOT, LATE, True),
    ("out at that time, in", {"deals": f"{NOT} {DATE}"}, IN, DATE, False, NOT, DATE, True),
    ("out later, in, overriding", {"deals": f"{NOT} {LATE}"}, IN, DATE, True, IN, LATE + 1, False),
    ("in later, out as of a date", {"deals": f"{IN} {LATE}"}, NOT, DATE, False, IN, LATE, True),
    ("in later, out, overriding opt-outs only", {"deals": f"{IN} {LATE}"}, NOT, DATE, True, IN, LATE, True),
    ("in earlier, out as of a date", {"deals": f"{IN} {EARLY}"}, NOT, DATE, False, NOT, DATE, False),
    ("in at that time, out", {"deals": f"{IN} {DATE}"}, NOT, DATE, False, NOT, DATE + 1, False),
    (
        "out of the account, in",
        {"deals": f"{IN} {EARLY}", "at_acme": f"{NOT} {DATE}"},
        IN,
        None,
        False,
        NOT,
        DATE,
        True,
    ),
    ("out of the account earlier, in as of a date", {"at_acme": f"{NOT} {EARLY}"}, IN, DATE, False, IN, DATE, False),
    ("out of everything, in", {"at_all": f"{NOT} {DATE}"}, IN, None, False, NOT, DATE, True),
    (
        "out of everything ahead of our clock, in, overriding: what is said meanwhile stays",
        {"at_all": f"{NOT} {NOW + 5}"},
        IN,
        None,
        True,
        NOT,
        NOW + 5,
        True,
    ),
    ("out of another account, in", {"at_other": f"{NOT} {LATE}"}, IN, None, False, IN, NOW, False),
    (
        "out of everything, in since",
        {"at_all": f"{NOT} {EARLY}", "deals": f"{IN} {DATE}"},
        IN,
        None,
        False,
        IN,
        DATE,
        False,
    ),
    ("out of everything, out", {"at_all": f"{NOT} {EARLY}"}, NOT, None, False, NOT, EARLY, False),
    ("choosing, in", {"at_all": f"choosing {LATE}:{NOW + 9}:{NOT}"}, IN, None, False, "choosing", LATE, True),
    ("choosing, out", {"at_all": f"choosing {LATE}:{NOW + 9}:{NOT}"}, NOT, None, False, "choosing", LATE, False),
    ("pending, in: no double opt-in", {"deals": f"pending {LATE}:{NOW + 9}:none"}, IN, None, False, IN, NOW, False),
    (
        "pending since, in as of a date",
        {"deals": f"pending {LATE}:{NOW + 9}:none"},
        IN,
        DATE,
        False,
        "pending",
        LATE,
        True,
    ),
    (
        "pending lapsed, in as of a date",
        {"deals": f"pending {LATE}:{LATE + 1}:none"},
        IN,
        DATE,
        False,
        IN,
        LATE + 1,
        False,
    ),
    (
        "pending lapsed to an opt-out, in",
        {"deals": f"pending {LATE}:{LATE + 1}:{NOT}"},
        IN,
        DATE,
        False,
        "pending",
        LATE,
        True,
    ),
    ("pending, out", {"deals": f"pending {LATE}:{NOW + 9}:none"}, NOT, None, False, NOT, NOW, False),
]


@pytest.mark.parametrize(
    ("record", "says", "as_of", "override", "state", "since", "refused"),
    [row[1:] for row in PRECEDENCE],
    ids=[row[0] for row in PRECEDENCE],
)
async def test_precedence(
    record: dict[str, str],
    says: str,
    as_of: int | None,
    override: bool,
    state: str,
    since: int,
    refused: bool,
    store: Store,
    tmp_path: Path,
) -> None:
    if record:
        await give(store, ANN, **record)
    before = await consents(store, ANN)
    date = as_of and as_of / 1e6

    found = await imported(store, tmp_path, rows(f"{ANN},deals,{says}"), as_of=date, override_opt_outs=override)

    latest = max((await consents(store, ANN)).values(), key=lambda consent: consent.since)
    assert (latest.state, round(latest.since * 1e6)) == (state, since)
    assert bool(found.refused) == refused
    # What is not changed is not on record either.
    assert len(await changes(store)) == (await consents(store, ANN) != before)


async def test_what_was_texted_between_two_runs_of_an_import_is_not_overridden(store: Store, tmp_path: Path) -> None:
    class Stopped(Exception):
        """The operator has had enough."""

    def stop(_: object) -> None:
        raise Stopped

    clock = Clock()
    file = tmp_path / "people.csv"
    people = [f"+1415{number:07d}" for number in range(9000)]
    file.write_text(rows(*(f"{sender},deals,{IN}" for sender in people)))
    options = Options(file, tmp_path / "refused.csv", PROOF, override_opt_outs=True)
    with pytest.raises(Stopped):
        await Job(options, GROUPS, "store").run(store, clock, "run", stop)
    clock.now += 86_400
    await give(store, people[-1], deals=f"{NOT} {round(clock.now * 1e6)}")
    clock.now += 86_400
    await Job(options, GROUPS, "store").run(store, clock, "again", lambda _: None)

    assert await states(store, people[-1]) == OUT
    assert "after this import began" in read_report(options.refused)[1][1]


async def test_a_chunk_is_one_entry_for_the_ledger_with_the_rows_that_changed_something(
    store: Store, tmp_path: Path
) -> None:
    await give(store, ANN, deals=f"{IN} {EARLY}", at_other=f"{NOT} {EARLY}")

    await imported(store, tmp_path, rows(f"{ANN},deals,{IN}", f"{ANN},alerts,{IN}", f"{ANN},deals,{NOT}"))

    (entry,) = await entries(store)
    assert entry == {
        "v": 1,
        "id": "imp_run_1",
        "at": 1_800_000_000.0,
        "account": "import",
        "rows": [[ANN, "deals", IN, NOT, NOW, 4]],
        "proof": {"source_url": "https://example.com/join", "consent_text": "Yes, text me.", "operator": "ann"},
        "source": "people.csv",
    }


async def test_what_was_there_and_what_is_refused_is_not_in_the_entry(store: Store, tmp_path: Path) -> None:
    found = await imported(store, tmp_path, rows(f"{ANN},deals,{IN}", f"{BEN},deals,{NOT}", "junk,deals,subscribed"))
    again = await imported(store, tmp_path, rows(f"{ANN},deals,{IN}", f"{BEN},deals,{NOT}", f"{BEN},deals,{IN}"))

    assert sorted(await changes(store)) == [[ANN, "deals", "none", IN], [BEN, "deals", "none", NOT]]
    assert (found.done.end.changed, found.done.end.unchanged, found.done.end.refused) == (2, 0, 1)
    assert (again.done.end.changed, again.done.end.unchanged, again.done.end.refused) == (0, 2, 1)
    assert (found.done.end.new, again.done.end.new) == (2, 0)


async def test_a_dry_run_says_the_same_and_changes_nothing(store: Store, tmp_path: Path) -> None:
    content = rows(f"{ANN},deals,{IN}", f"{BEN},deals,{IN}", f"{BEN},nope,{IN}")
    await give(store, BEN, deals=f"{NOT} {EARLY}")

    tried = await imported(store, tmp_path, content, dry_run=True)
    untouched = (await states(store, ANN), await changes(store))
    done = await imported(store, tmp_path, content)

    assert untouched == ({}, [])
    assert tried.refused == done.refused
    assert tried.done.end == done.done.end


async def test_a_language_is_kept_and_a_blank_one_changes_none(store: Store, tmp_path: Path) -> None:
    header = "phone,language,subscription_group_id,subscription_state\n"
    await imported(store, tmp_path, f"{header}{ANN},fr,deals,{IN}\n{BEN},EN,,\n{CLEO},pt_BR,deals,{IN}\n")
    await imported(store, tmp_path, f"{header}{ANN},,deals,{NOT}\n{BEN},de,,\n{CLEO},french,deals,{NOT}\n")

    kept = [await store.redis.hget(store.keys.person(sender), "lang") for sender in (ANN, BEN, CLEO)]
    assert kept == [b"fr", b"de", b"pt-BR"]
    assert await states(store, ANN) == OUT
    assert await states(store, CLEO) == SUBSCRIBED


async def test_external_ids_are_learnt_with_a_phone_and_stand_for_it_without(store: Store, tmp_path: Path) -> None:
    header = "external_id,phone,subscription_group_id,subscription_state\n"
    await imported(store, tmp_path, f"{header}ann,{ANN},deals,{IN}\nben,{BEN},,\nbad,{CLEO},nope,{IN}\n")
    found = await imported(store, tmp_path, f"{header}ann,,alerts,{IN}\nnobody,,deals,{IN}\n")
    more = await imported(
        store, tmp_path, f"external_id,subscription_group_id,subscription_state\nben,deals,{NOT}\n,deals,{IN}\n"
    )

    assert await Directory(store).find(["ann", "ben", "bad", "nobody"]) == {"ann": ANN, "ben": BEN}
    assert await states(store, ANN) == {"deals": IN, "alerts": IN}
    assert await states(store, BEN) == OUT
    assert "nobody is known by its external_id" in found.refused[3]
    assert "external_id is blank" in more.refused[3]


async def test_the_report_can_be_corrected_and_imported(store: Store, tmp_path: Path) -> None:
    found = await imported(store, tmp_path, rows("14155550101,deals,subscribed", f"{BEN},dealz,subscribed", '"x'))
    report = (tmp_path / "people.refused.csv").read_text()
    corrected = report.replace("14155550101", ANN).replace("dealz", "deals")

    again = await imported(store, tmp_path, corrected)

    assert found.report[0] == ["refused_line", "refused_reason", *HEADER.strip().split(",")]
    assert [row[2:] for row in found.report[1:]] == [["14155550101", "deals", IN], [BEN, "dealz", IN], ['"x']]
    assert await states(store, ANN) == await states(store, BEN) == SUBSCRIBED
    assert list(again.refused) == [4]
    assert again.report[0] == found.report[0]


async def test_who_reads_the_report_is_nobody_else(store: Store, tmp_path: Path) -> None:
    await imported(store, tmp_path, rows("x,deals,subscribed"))

    assert (tmp_path / "people.refused.csv").stat().st_mode & 0o777 == 0o600


async def test_a_report_of_an_earlier_import_goes_away_when_no_row_is_refused(store: Store, tmp_path: Path) -> None:
    await imported(store, tmp_path, rows("x,deals,subscribed"))
    await imported(store, tmp_path, rows(f"{ANN},deals,subscribed"))

    assert not (tmp_path / "people.refused.csv").exists()


async def test_many_rows_are_taken_in_their_order(store: Store, tmp_path: Path) -> None:
    people = [f"+1415{number:07d}" for number in range(3000)]
    said = [f"{sender},deals,{state}" for state in (IN, NOT) for sender in people]

    found = await imported(store, tmp_path, rows(*said))

    assert found.done.end.changed == 2 * len(people)
    assert [await states(store, sender) for sender in people[::100]] == [OUT] * 30
    told = [row for entry in await entries(store) for row in entry["rows"] if row[0] == people[7]]
    assert [row[3] for row in told] == [IN, NOT]
    assert [row[5] for row in told] == sorted(row[5] for row in told)
    assert len({row[4] for row in told}) == len(told)


async def test_every_program_is_led_to_by_its_names(store: Store, tmp_path: Path) -> None:
    await imported(store, tmp_path, rows(*(f"{ANN},{group.id},{IN}" for group in GROUPS.values())))

    person = await People(store).get(ANN)
    assert person
    assert person.consent == {name: Consent("subscribed", 1_800_000_000.0) for name in GROUPS}


async def test_progress_and_rows_survive_a_store_that_forgets_its_scripts(store: Store, tmp_path: Path) -> None:
    await store.redis.script_flush()

    await imported(store, tmp_path, rows(f"{ANN},deals,{IN}"), Clock())

    assert await states(store, ANN) == SUBSCRIBED
    assert orjson.loads(orjson.dumps(await changes(store))) == [[ANN, "deals", "none", IN]]
