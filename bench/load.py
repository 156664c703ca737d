"""The whole product under load: `python -m bench.load [SECTION ...] [--help]`.

Real processes on loopback: a driver that sends signed texts of Twilio and Meta, keyroute with its embedded store synced
before every answer, a worker, and a sink that notes when each event arrived.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import results
from bench.growth import growth
from bench.load_page import load_page
from bench.paced import highest, latency, overload
from bench.saturated import Figures, accept, cores, servers

SECTIONS: dict[str, Callable[[argparse.Namespace, Path], Figures]] = {
    "accept": accept,
    "servers": servers,
    "cores": cores,
    "latency": latency,
    "highest": highest,
    "growth": growth,
    "overload": overload,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the sections that are named, or all, prints their figures and writes them and a page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all if none is named"
    )
    options.add_argument("--out", type=Path, default=Path("bench/results/load.json"), help="where the figures go")
    options.add_argument(
        "--server", choices=["all", "apart"], default="apart", help="one process, or a worker beside it"
    )
    options.add_argument("--keep", action="store_true", help="sections of the file that are not run stay in it")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--texts", type=int, default=100_000, help="of a round of what is saturated")
    options.add_argument("--people", type=int, default=100_000)
    options.add_argument("--connections", type=int, default=512)
    options.add_argument("--connection-counts", type=int, nargs="*", default=[128, 512, 1024], help="of accept")
    options.add_argument("--crowd", type=int, default=4096, help="connections of overload")
    options.add_argument("--rate", type=float, default=2000, help="of latency")
    options.add_argument("--seconds", type=float, default=60, help="of latency, and of the highest rate")
    options.add_argument("--try-seconds", type=float, default=6, help="of each rate that is tried")
    options.add_argument("--overload-seconds", type=float, default=60)
    options.add_argument("--program-counts", type=int, nargs="*", default=[10, 1000, 100_000])
    options.add_argument("--sender-counts", type=int, nargs="*", default=[1000, 100_000, 10_000_000])
    chosen = options.parse_args(arguments)
    unknown = [name for name in chosen.sections if name not in SECTIONS]
    if unknown:
        options.error(f"there is no section {', '.join(unknown)}. Name some of {', '.join(SECTIONS)}, or none for all.")
    command = ["python", "-m", "bench.load", *(sys.argv[1:] if arguments is None else arguments)]
    figures = results.read(chosen.out)["figures"] if chosen.keep and chosen.out.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        for section in chosen.sections or SECTIONS:
            place = Path(name) / section
            place.mkdir()
            figures[section] = SECTIONS[section](chosen, place)
            print(section, json.dumps(_short(figures[section]), indent=1, ensure_ascii=False), flush=True)
            # After each: what was measured is there although a later one fails.
            result = results.write(chosen.out, figures, command)
            chosen.out.with_suffix(".html").write_text(load_page(result))
    print(f"{chosen.out} has the figures, {chosen.out.with_suffix('.html')} their page.")


def _short(found: Any) -> Any:
    """The same without what is for plots alone."""
    if isinstance(found, dict):
        return {name: _short(each) for name, each in found.items() if name not in ("hdr", "curve", "seconds", "tried")}
    return found


if __name__ == "__main__":
    main()
