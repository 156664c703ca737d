"""`python -m tests.standins.braze --port P`: a workspace as a process of its own. `GET /_report` says what has come."""

import argparse
import asyncio
import signal
from pathlib import Path

import uvloop

from tests.standins.braze import API_KEY, Braze


async def _serve(options: argparse.Namespace) -> None:
    braze = Braze(delay=options.delay, latency=options.latency, record=options.record)
    braze.jitter = options.jitter
    braze.port = options.port
    braze.api_key = options.key
    if options.faults:
        braze.faults(options.faults, options.seed)
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with braze:
        print(braze.url, flush=True)
        await over.wait()
    braze.record.flush()


def main() -> None:
    """Serves until it is told to stop; prints its address once it listens."""
    parser = argparse.ArgumentParser(prog="python -m tests.standins.braze", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    parser.add_argument("--key", default=API_KEY, help="the API key")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds from an answer to its effect")
    parser.add_argument("--jitter", type=float, default=0.0, help="the most seconds that chance adds to that")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until an answer")
    parser.add_argument("--faults", type=float, default=0.0, help="share of the requests that meet a fault")
    parser.add_argument("--seed", type=int, default=1, help="of the faults")
    parser.add_argument("--record", type=Path, help="a file for lines of JSON: each event that came, and what was lost")
    uvloop.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
