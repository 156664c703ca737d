"""Writes a package with adapters in it, as a third party would install one."""

from collections.abc import Mapping
from pathlib import Path


def write_package(folder: Path, name: str, source: str, entry_points: Mapping[str, Mapping[str, str]]) -> None:
    """`entry_points`: group → name → what in the module `name` it is. The folder has to be on `sys.path`."""
    (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, entries in entry_points.items():
        lines += [f"[{group}]", *(f"{entry} = {name}:{what}" for entry, what in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
