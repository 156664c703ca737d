"""Records of CSV files: what is well written is read as it was meant, what is not spoils nothing else."""

import csv
import io

from hypothesis import example, given
from hypothesis import strategies as st

from router.imports.records import Record, Records

CELLS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('",\r\n'), max_size=8)
#: Bytes that are likely to go wrong.
JUNK = st.lists(
    st.sampled_from([b'"', b",", b"\n", b"\r\n", b"\r", b"a", b"\xff", b"\xc3\xa9", b'""', b"\x00"]), max_size=40
)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_what_is_well_written_is_read_as_it_was_meant(rows: list[list[str]], end: str) -> None:
    written = io.StringIO(newline="")
    if end == "\n":  # where lines end like this, `csv` does not quote a carriage return by itself
        csv.writer(written, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    else:
        csv.writer(written, lineterminator=end).writerows(rows)

    read = list(Records(io.BytesIO(written.getvalue().encode())).read(3))

    assert [record.cells for record in read] == rows
    assert [record.problem for record in read] == [None] * len(rows)


@given(JUNK)
@example([b'"', b"\n", b'"', b"a"])
@example([b'"', b"a", b",", b"\n", b"a", b",", b"a"])
def test_reading_can_go_on_after_every_record(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    records = Records(io.BytesIO(content))
    read: list[Record] = []
    places = [(records.offset, records.line)]
    for record in records.read(2):
        read.append(record)
        places.append((records.offset, records.line))

    for count, (offset, line) in enumerate(places):
        assert list(Records(io.BytesIO(content), offset, line).read(2)) == read[count:]
    assert records.offset == len(content)
    assert records.line == 1 + len(io.BytesIO(content).readlines())


@given(JUNK.map(b"".join), st.integers(0, 5))
def test_a_line_with_a_problem_leaves_those_without_quotes_alone(junk: bytes, before: int) -> None:
    good = b"+14155550101,deals\n"
    bad = junk.replace(b"\n", b"").replace(b"\r", b"") + b"\n"

    read = list(Records(io.BytesIO(good * before + bad + good * 3)).read(2))

    # But for a quote that takes the rest for its cell and is none the less well written, which no file can tell.
    assert [record.cells for record in read if not record.problem][:before] == [["+14155550101", "deals"]] * before
    assert [record.cells for record in read][-3:] == [["+14155550101", "deals"]] * 3
