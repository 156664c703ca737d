"""Sealed segments: `SHARD/NUMBER.jsonl.gz` below a folder or URL, a row a line. Methods block: call them in a thread.

A file is put whole, under another name first, and is nobody else's to read where that can be said. fsspec comes with
the first call: a process that seals nothing does without its 15 MB.
"""

import gzip
import importlib
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from router.errors import DamagedLedger, LedgerUnavailable


class Packing:
    """The file of a segment as it is made."""

    def __init__(self) -> None:
        self._content = BytesIO()
        # Without a name and a time: a segment that is packed again gives the same bytes.
        self._file = gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=self._content, mtime=0)

    def add(self, lines: Sequence[bytes]) -> None:
        """The next rows."""
        self._file.write(b"".join(line + b"\n" for line in lines))

    def finish(self) -> bytes:
        """The whole file."""
        self._file.close()
        return self._content.getvalue()


class Segments:
    """The files below a folder or URL. All methods raise `LedgerUnavailable`."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def address(self) -> str:
        """The URL without a password."""
        return re.sub(r"://[^@/]*@", "://…@", self._url)

    def reach(self) -> None:
        """Only makes sure that there is what it takes to speak to the URL."""
        with self._answering():
            self._place(0)

    def put(self, shard: int, number: int, content: bytes, mark: str, still: Callable[[], bool]) -> None:
        """Writes a segment in place of what there may be. `mark` is a name for the writer.

        `still` is asked at the last moment whether the shard is still the caller's.
        """
        with self._answering():
            files, folder = self._place(shard)
            _make_folder(files, folder)
            part = f"{folder}/{number:08d}.{mark}.part"
            with files.open(part, "wb") as file:
                _keep_private(files, file)
                file.write(content)
                _flush(files, file)
            if not still():
                files.rm_file(part)
                raise LedgerUnavailable(f"shard {shard} was taken over by another worker. It goes on where this ended.")
            files.mv(part, _name(folder, number))
            _flush_folder(files, folder)
            # What is in the store goes next: it is made sure that there is another copy.
            if files.size(_name(folder, number)) != len(content):
                raise LedgerUnavailable(
                    f"a file at {self.address} is not as long as what was written. Look for room there."
                )

    def read(self, shard: int, number: int) -> list[bytes]:
        """The rows of a segment. Raises `DamagedLedger` if it is missing, or not what was written."""
        try:
            with self._answering(missing=True):
                files, folder = self._place(shard)
                with files.open(_name(folder, number), "rb") as file:
                    packed: bytes = file.read()
        except FileNotFoundError:
            raise DamagedLedger("its file is missing. Put it back from a backup.") from None
        try:
            lines = gzip.decompress(packed).split(b"\n")
        except (OSError, EOFError, zlib.error) as error:
            raise DamagedLedger(f"its file cannot be read ({error}). Put it back from a backup.") from None
        return lines[:-1] if not lines[-1] else lines

    def remove(self, shard: int, number: int) -> None:
        """Removes a segment, if it is there."""
        try:
            with self._answering(missing=True):
                files, folder = self._place(shard)
                files.rm_file(_name(folder, number))
        except FileNotFoundError:
            pass

    def tidy(self, shard: int) -> None:
        """Removes what writers that were cut short have left."""
        try:
            with self._answering(missing=True):
                files, folder = self._place(shard)
                files.invalidate_cache()
                for path in files.ls(folder, detail=False):
                    if str(path).endswith(".part"):
                        files.rm_file(path)
        except FileNotFoundError:
            pass

    def _place(self, shard: int) -> tuple[Any, str]:
        # Late, see above.
        core = importlib.import_module("fsspec.core")
        files, folder = core.url_to_fs(self._url)
        return files, f"{folder.rstrip('/')}/{shard}"

    @contextmanager
    def _answering(self, *, missing: bool = False) -> Iterator[None]:
        """`missing`: that a file is not there is the caller's to judge."""
        try:
            yield
        except LedgerUnavailable:
            raise
        except Exception as error:  # a file system is anybody's code, and raises what it likes
            if missing and isinstance(error, FileNotFoundError):
                raise
            raise LedgerUnavailable(
                f"the ledger's files at {self.address} cannot be used ({type(error).__name__}: {error}). Correct "
                "ledger.url or the rights there, or install the package that such a URL needs."
            ) from error


def _name(folder: str, number: int) -> str:
    return f"{folder}/{number:08d}.jsonl.gz"


def _is_local(files: Any) -> bool:
    return "file" in files.protocol if isinstance(files.protocol, tuple) else files.protocol == "file"


def _make_folder(files: Any, folder: str) -> None:
    if _is_local(files):
        os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
        os.makedirs(folder, mode=0o700, exist_ok=True)
    else:
        files.makedirs(folder, exist_ok=True)


def _keep_private(files: Any, file: Any) -> None:
    """Numbers of people stand in it, and their words."""
    if _is_local(files):
        os.fchmod(file.fileno(), 0o600)


def _flush(files: Any, file: Any) -> None:
    """To disk: the rows leave the store next."""
    file.flush()
    if _is_local(files):
        os.fsync(file.fileno())


def _flush_folder(files: Any, folder: str) -> None:
    if _is_local(files):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
