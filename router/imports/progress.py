"""How far an import has come, kept beside its file until it is done: a run that was cut short is gone on with."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

_VERSION = 1
#: How much of a file tells it from another one of the same size.
_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next row begins, what became of those before, and how long the report of the refused is.

    `began`: when the first row was taken, in unix seconds, be it by an earlier run.
    """

    offset: int
    line: int
    rows: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    new: int = 0
    report_bytes: int = 0
    began: float = 0.0


def identity(path: Path, options: Mapping[str, object]) -> str:
    """What must be the same for a run to be gone on with: the file, and all that decides what becomes of its rows."""
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        begins = hashlib.sha256(file.read(_READ)).hexdigest()
    # The time too: what was corrected further behind must not be passed over.
    told = [found.st_size, found.st_mtime_ns, begins, dict(options)]
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()


class Progress:
    """The file beside the imported one."""

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self._identity = identity

    def load(self, report: Path) -> Place | None:
        """Where an earlier run of the same import was, if its report is still there to be gone on with."""
        try:
            kept = orjson.loads(self.path.read_bytes())
            place = Place(**kept["place"])
            same = kept["v"] == _VERSION and kept["identity"] == self._identity
            if same and (not place.report_bytes or report.stat().st_size >= place.report_bytes):
                return place
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            pass  # there is none, or it is of something else: from the beginning, which does no harm
        return None

    def save(self, place: Place) -> None:
        """Replaces what was kept, whole or not at all."""
        new = self.path.with_name(f"{self.path.name}.new")
        new.write_bytes(orjson.dumps({"v": _VERSION, "identity": self._identity, "place": asdict(place)}))
        new.replace(self.path)

    def clear(self) -> None:
        """The import is done."""
        self.path.unlink(missing_ok=True)
