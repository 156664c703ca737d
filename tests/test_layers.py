"""Who may import whom, read from the source: the router names no adapter, and nothing points upwards."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from router.types import Channel

ROOT = Path(__file__).parent.parent

#: What adapters may know of the router. `_core` is bytes in, tuples out.
LEAVES = {"router.types", "router.errors", "router.ports", "router._core"}

#: The rooms of `router/` from the ground up: each imports only from rows above its own.
ROOMS = [
    "_core _version disposal network numbering secrets tasks telemetry types",
    "errors",
    "bearer consent egress embedded language ports records",
    "rules",
    "answered decide registry spill store",
    "backlog config ledger outage",
    "routing",
    "delivery groups",
    "exports imports",
    "outbound unhandled",
    "texts",
    "calls parts",
    "acceptance",
    "pipeline",
    "reception",
    "api inbox service",
    "webhooks",
    "platform_api",
    "reload siblings",
    "app",
    "cli",
]


def modules(package: str) -> list[Path]:
    """The source files of a package, as paths from the root."""
    return [path.relative_to(ROOT) for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it, by their full names."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} line {node.lineno}: write the import in full"
            module = node.module or ""
            yield from [f"{module}.{alias.name}" for alias in node.names] if module == "router" else [module]


def room(path: Path) -> str:
    """The room of a file of the router: `store` for `router/store/keys.py`."""
    return path.parts[1].removesuffix(".py")


def test_the_router_names_no_adapter() -> None:
    found = [(path, name) for path in modules("router") for name in imports(path) if name.split(".")[0] == "adapters"]

    assert found == []


def test_the_router_does_not_even_speak_of_a_carrier() -> None:
    files = {path.stem for path in (ROOT / "adapters" / "carriers").glob("[a-z]*.py")}
    names = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["router.carriers"]
    # By their first words: `sinch_sms` is of Sinch. WhatsApp is a channel too, and a standard is a standard.
    brands = {name.partition("_")[0] for name in files | set(names)}
    brands -= {*get_args(Channel), "standard"}
    named = re.compile(rf"(?i)(?<![a-z])({'|'.join(sorted(brands))})(?![a-z])")
    sources = [path for ending in ("py", "pyi", "pyx", "pxi", "lua") for path in (ROOT / "router").rglob(f"*.{ending}")]

    assert "twilio" in brands
    assert [(path.name, found) for path in sources for found in named.findall(path.read_text())] == []


def test_adapters_know_only_the_leaves_of_the_router() -> None:
    found = [(path, name) for path in modules("adapters") for name in imports(path) if name.split(".")[0] == "router"]

    assert [pair for pair in found if pair[1] not in LEAVES] == []
    assert found


def test_every_room_has_its_place() -> None:
    rooms = {room(path) for path in modules("router")} - {"__init__"}
    placed = [name for row in ROOMS for name in row.split()]

    assert rooms - set(placed) == set(), "write the new room into ROOMS"
    assert len(placed) == len(set(placed))


def test_nothing_points_upwards() -> None:
    height = {name: row for row, names in enumerate(ROOMS) for name in names.split()}
    height["__init__"] = len(ROOMS)

    for path in modules("router"):
        others = {name.split(".")[1] for name in imports(path) if name.startswith("router.")} - {room(path)}
        assert {name for name in others if height[name] >= height[room(path)]} == set(), path


def test_only_the_store_speaks_redis() -> None:
    found = {room(path) for path in modules("router") for name in imports(path) if name.split(".")[0] == "redis"}

    assert found == {"store"}


def test_the_compiled_core_imports_nothing_of_ours() -> None:
    sources = [ROOT / "router" / "_core.pyx", *(ROOT / "router" / "core").glob("*.pxi")]
    source = "\n".join(path.read_text() for path in sources)

    assert re.findall(r"^\s*(?:from|import|cimport)\s+(?:router|adapters|\.).*", source, re.MULTILINE) == []
