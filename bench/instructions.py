"""How many instructions the hot functions take, as callgrind counts them: the same whatever else the machine does.

`python -m bench.instructions` needs valgrind (Debian's package of that name). Each function runs so many times and then
twice as many; the difference is what its calls alone take.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from adapters._signing import SigningKey
from bench.driver import ROOT
from bench.requests import TOKEN, TWILIO_URL, twilio
from bench.servers import configure, webhook
from router import normalize
from router._core import Form, fold, scan_form
from router.config import load
from router.records import write_message
from router.routing import Routing
from router.texts import prepare
from router.types import Inbound, RawRequest

_TIMES = 2000
_OURS, _SENDER = "+14155550199", "+14155550101"
_BODY = twilio(1, _SENDER, _OURS, "COUPONS").partition(b"\r\n\r\n")[2]
_HEADERS = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}


def functions(folder: Path) -> dict[str, Callable[[], object]]:
    """What is counted, by name."""
    routing = Routing(load(configure(folder, webhook("hook", 9))))
    carrier = routing.accounts["twilio"].carrier
    text = Inbound("SM1", _SENDER, _OURS, "COUPONS")
    route = routing.find("twilio", "sms", _OURS)
    key = SigningKey(TOKEN.encode(), "sha1")
    signed = TWILIO_URL.encode() + _BODY
    requests = [RawRequest("twilio", "POST", b"", _HEADERS, bytes(bytearray(_BODY)), 0.0) for _ in range(2)]
    return {
        "fold": lambda: fold("Stop please!!"),
        "match": lambda: routing.match(route, text),
        "normalize": lambda: normalize("+14155550101"),
        "form of 19 fields": lambda: scan_form(_BODY, 1000),
        "the same with urllib": lambda: parse_qsl(_BODY.decode(), keep_blank_values=True),
        "what is signed of it": lambda: Form(_BODY, 1000).joined(),
        "signature": lambda: key.sign(signed),
        "parse (two requests)": lambda: [carrier.parse(request) for request in requests],
        "decide": lambda: prepare(routing, "twilio", text, 1_800_000_000.25),
        "encode": lambda: write_message("evt_0123456789abcdef", 1_800_000_000.25, "twilio", ("alerts",), text),
    }


def count(name: str, times: int, folder: Path) -> int:
    """Instructions of a process that calls a function so many times."""
    out = folder / "callgrind.out"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", sys.executable, "-m", __spec__.name]
    done = subprocess.run([*command, name, str(times)], capture_output=True, text=True, cwd=ROOT, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if not found:
        raise RuntimeError(f"callgrind counted nothing: {done.stderr.strip()[-500:]}")
    return int(found[1])


def main() -> None:
    """Prints the counts; with a name and a number, calls that function so many times."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if sys.argv[1:]:
            function = functions(folder)[sys.argv[1]]
            for _ in range(int(sys.argv[2])):
                function()
            return
        if not shutil.which("valgrind"):
            sys.exit(
                "bench.instructions: valgrind is not installed. Install it (`apt install valgrind`), then run again."
            )
        print(f"{'':24}{'instructions a call':>20}")
        for each in functions(folder):
            counted = count(each, 2 * _TIMES, folder) - count(each, _TIMES, folder)
            print(f"{each:24}{counted / _TIMES:>20,.0f}", flush=True)


if __name__ == "__main__":
    main()
