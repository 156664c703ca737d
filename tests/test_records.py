"""What is kept as JSON is read as it was written."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from router.records import read_text, write_message
from router.types import Binary, Inbound, Media, Part, Proof

TEXT = st.text(max_size=5)
MAYBE = st.none() | TEXT
TEXTS = st.builds(
    Inbound,
    message_id=TEXT,
    sender=TEXT,
    recipient=MAYBE,
    text=TEXT,
    channel=st.sampled_from(["sms", "mms", "whatsapp", "rcs"]),
    media=st.lists(st.builds(Media, url=MAYBE, content_type=MAYBE), max_size=2).map(tuple),
    opt_out_type=st.none() | st.just("STOP"),
    payload=MAYBE,
    recipient_ref=MAYBE,
    kind=st.sampled_from(["text", "preference", "api", "import", "receipt"]),
    scope=st.none() | st.just("marketing"),
    part=st.none() | st.from_type(Part),
    binary=st.none() | st.from_type(Binary),
    proof=st.none() | st.builds(Proof, source_url=MAYBE, consent_text=MAYBE, operator=MAYBE),
)


@given(TEXTS)
def test_a_text_is_read_as_it_was_written(text: Inbound) -> None:
    assert read_text(orjson.loads(write_message("evt_1", 1.0, "acme", ("deals",), text))) == text


def test_most_texts_are_written_without_what_they_do_not_have() -> None:
    written = orjson.loads(write_message("evt_1", 1.0, "acme", ("deals",), Inbound("1", "+14155550101", None, "x")))
    assert list(written["message"]) == ["message_id", "sender", "recipient", "text", "channel"]
