"""What a change of consent adds to an accept: signed webhooks, verified, matched, decided and made durable.

`python -m bench.consent [--texts 4000] [--rounds 9] [--at-once 64]` takes texts of Twilio through the pipeline into an
embedded store that writes to disk before it answers. In turns, the same senders send a keyword that changes nothing,
and STOP and START, each of which changes their state and goes on record. All are answered with a text. It prints the
median µs of a text, and the µs of processor time that this process and the store spend on it, and the ratios. The clock
is at the mercy of the disk and of other processes; processor time is not.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import uvloop
from redis.asyncio import Redis
from twilio.request_validator import RequestValidator

from router.config import load
from router.embedded import EmbeddedServer
from router.service import Service
from router.types import RawRequest

_TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 (of a bench)
_URL = "http://127.0.0.1:8080/in/twilio"
_OURS = "+14155550199"
_FORM = {"content-type": "application/x-www-form-urlencoded"}
_CONFIGURATION = f"""
[limits]
replies_per_hour = 1000000
[accounts.twilio]
carrier = "twilio"
auth_tokens = ["file:token"]
[[numbers]]
number = "{_OURS}"
account = "twilio"
type = "long_code"
program = "deals"
carrier_answers = []
[programs.deals]
name = "Deals"
[programs.deals.replies.en]
opt_in = "Deals: you are subscribed. Msg&data rates may apply. HELP for help, STOP to cancel."
opt_out = "Deals: you are unsubscribed and will get no more messages. Thank you for having been there."
help = "Call 555."
[[programs.deals.keywords]]
words = ["COUPONS"]
replies = {{ en = "This week: twenty percent off everything in our shops, with the code DEAL20. STOP to cancel." }}
[programs.deals.destinations.crm]
[destinations.crm]
platform = "webhook"
url = "https://crm.example.com/events"
secrets = ["file:webhook"]
"""
#: What is sent in turns; whoever has opted out is not answered, so all are subscribed again before the next turn.
_TURN = (("no change", "coupons"), ("change", "STOP"), ("change", "START"))


def requests(texts: int, said: str, first: int) -> list[RawRequest]:
    """Signed webhooks, each of another sender and with an id of its own."""
    validator = RequestValidator(_TOKEN)
    made = []
    for place in range(texts):
        sender = f"+1415{place:07d}"
        form = {"MessageSid": f"SM{first + place:032d}", "From": sender, "To": _OURS, "Body": said, "NumMedia": "0"}
        headers = {**_FORM, "x-twilio-signature": validator.compute_signature(_URL, form)}
        made.append(RawRequest("twilio", "POST", b"", headers, urlencode(form).encode(), time.time()))
    return made


async def taken(service: Service, store: Redis, batch: list[RawRequest], at_once: int) -> list[float]:
    """Seconds a text: by the clock, of this process, of the store, of both."""
    waiting = iter(batch)

    async def work() -> None:
        for request in waiting:
            answer = await service.reception.receive(request)
            assert b"<Message>" in answer.body

    async def spent() -> list[float]:
        cpu = await store.info("cpu")
        return [time.perf_counter(), time.process_time(), cpu["used_cpu_user"] + cpu["used_cpu_sys"]]

    before = await spent()
    await asyncio.gather(*(work() for _ in range(at_once)))
    clock, ours, stores = ((now - then) / len(batch) for now, then in zip(await spent(), before, strict=True))
    return [clock, ours, stores, ours + stores]


async def measure(folder: Path, texts: int, rounds: int, at_once: int) -> dict[str, list[list[float]]]:
    """All rounds of both kinds, in turns."""
    settings = load(folder / "keyroute.toml")
    service = Service(settings, "ingress", time.time)
    await service.start()
    store = Redis.from_url(EmbeddedServer(settings.store.data).url)
    found: dict[str, list[list[float]]] = {"no change": [], "change": []}
    try:
        await taken(service, store, requests(texts, "START", 0), at_once)  # makes everybody known
        for number in range(rounds):
            for place, (name, said) in enumerate(_TURN):
                batch = requests(texts, said, (len(_TURN) * number + place + 1) * texts)
                found[name].append(await taken(service, store, batch, at_once))
    finally:
        await store.aclose()
        await service.stop()
    return found


def main() -> None:
    """Prints the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--texts", type=int, default=4000)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--at-once", type=int, default=64)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "token").write_text(_TOKEN)
        (folder / "webhook").write_text("whsec_BwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSY=")
        (folder / "keyroute.toml").write_text(_CONFIGURATION)
        found = uvloop.run(measure(folder, given.texts, given.rounds, given.at_once))
    medians = {
        name: [statistics.median(kind) * 1e6 for kind in zip(*figures, strict=True)] for name, figures in found.items()
    }
    medians["ratio"] = [c / n for c, n in zip(medians["change"], medians["no change"], strict=True)]
    print(f"{'':10}{'by the clock':>15}{'this process':>15}{'the store':>15}{'both':>15}")
    for name, figures in medians.items():
        unit = "" if name == "ratio" else " µs"
        print(
            f"{name:10}"
            + "".join(f"{figure:>{15 - len(unit)}.{2 if name == 'ratio' else 1}f}{unit}" for figure in figures)
        )


if __name__ == "__main__":
    main()
