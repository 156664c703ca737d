"""Processes that share one address: each tells the others what it has counted, so that any can tell it of all."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from router.errors import AddressUnusable

#: How long another process may take to tell, in seconds; one that is busy or gone is left out.
_PATIENCE = 1.0


class Siblings:
    """The place of this process among those that share its address, `number` from 0, and the others."""

    def __init__(self, folder: Path, number: int) -> None:
        """`folder` is the same for all, and holds a socket of each."""
        self._folder = folder
        self._path = folder / f"{number}.sock"
        self._number = number
        self._server: asyncio.Server | None = None

    async def open(self, counted: Callable[[], bytes]) -> None:
        """Begins to tell what is counted here, in Prometheus's format. Raises `AddressUnusable`."""

        async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                writer.write(counted())
                await writer.drain()
                writer.close()

        self._counted = counted
        try:
            self._path.unlink(missing_ok=True)  # of one that was killed
            self._server = await asyncio.start_unix_server(tell, self._path)
            self._path.chmod(0o600)
        except OSError as error:
            raise AddressUnusable(
                f"cannot listen on {self._path}: {error}. Set TMPDIR to a short path that can be written to."
            ) from None

    async def close(self) -> None:
        """Tells nothing any more."""
        if self._server:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def counted(self) -> bytes:
        """What all of them have counted, each under its label `process`."""
        others = [path for path in sorted(self._folder.glob("*.sock")) if path != self._path]
        texts = dict(zip((path.stem for path in others), await asyncio.gather(*map(_asked, others)), strict=True))
        return merged({str(self._number): self._counted()} | texts)


async def _asked(path: Path) -> bytes:
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_unix_connection(path)
            text = await reader.read()
            writer.close()
    except (OSError, TimeoutError):
        return b""
    return text[: text.rfind(b"\n") + 1]  # one that ends may leave half a line


def merged(texts: dict[str, bytes]) -> bytes:
    """The families of metrics of several processes as one text; `texts` by the number of the process."""
    heads: dict[bytes, list[bytes]] = {}
    samples: dict[bytes, list[bytes]] = {}
    for number, text in sorted(texts.items()):
        label = f'process="{number}"'.encode()
        family = b""
        for line in text.splitlines():
            if line.startswith(b"# "):
                family = line.split(b" ", 3)[2]
                known = heads.setdefault(family, [])
                if line not in known:
                    known.append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, label))
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, ()))]
    return b"".join(line + b"\n" for line in lines)


def _labelled(sample: bytes, label: bytes) -> bytes:
    name, space, rest = sample.partition(b" ")
    at = sample.find(b"{")
    if 0 <= at < len(name):
        return sample[: at + 1] + label + b"," + sample[at + 1 :]
    return name + b"{" + label + b"}" + space + rest
