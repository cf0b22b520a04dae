"""An MCAP file that was cut short, as after a crash, opened as if its recording had ended with its last whole message.

Nothing is copied or written: what is missing after the last whole record, the messages of a chunk that is partly there
and the file's end, is kept in memory and read as if it followed the file. The layout is that of the MCAP specification
(https://mcap.dev/spec); `mcap recover` writes such a file to disk.
"""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

from lz4.frame import LZ4FrameDecompressor

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b"\x89MCAP0\r\n"

_RECORD = struct.Struct("<BQ")  # opcode, length
_CHUNK = struct.Struct("<QQQI")  # first and last time, size, checksum
_FOOTER, _CHUNK_RECORD, _DATA_END = 0x02, 0x06, 0x0F
_END_WITHOUT_SUMMARY = _RECORD.pack(_FOOTER, 20) + bytes(20) + MAGIC


class CutMcap:
    """Stands for the path of a cut MCAP file, with all that `rosbags` asks of a path.

    Attributes:
        path: of the file.
        suffix: that of any MCAP file.
    """

    suffix = ".mcap"

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    def is_dir(self) -> bool:
        """It is a file."""
        return False

    def open(self, *_: Any, **__: Any) -> BinaryIO:
        """The whole records of the file, followed by the end that it lacks.

        Raises:
            OSError: the file cannot be read.
        """
        file = self.path.open("rb")
        whole, rest = _whole_records(file)
        return io.BufferedReader(_Continued(file, whole, rest + _END_WITHOUT_SUMMARY))  # type: ignore[return-value]


def is_cut(path: Path) -> bool:
    """Whether a file begins as MCAP and does not end so.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        begins = file.read(len(MAGIC)) == MAGIC
        file.seek(max(path.stat().st_size - len(MAGIC), 0))
        return begins and file.read() != MAGIC


def _whole_records(file: BinaryIO) -> tuple[int, bytes]:
    """Where the whole records of a file end, and the whole records of a chunk that is cut there, if any."""
    size = file.seek(0, io.SEEK_END)
    position = len(MAGIC)
    while position + _RECORD.size <= size:
        file.seek(position)
        opcode, length = _RECORD.unpack(file.read(_RECORD.size))
        # The file system may leave zeros where the last blocks were not written; behind the data comes an index only.
        if opcode in (0, _DATA_END, _FOOTER):
            break
        if position + _RECORD.size + length > size:
            return position, _records_of_cut_chunk(file.read()) if opcode == _CHUNK_RECORD else b""
        position += _RECORD.size + length
    return position, b""


def _records_of_cut_chunk(content: bytes) -> bytes:
    """The whole records in a chunk whose end is missing."""
    if len(content) < _CHUNK.size + 4:
        return b""
    (name_length,) = struct.unpack_from("<I", content, _CHUNK.size)
    start = _CHUNK.size + 4 + name_length
    compression, compressed = content[_CHUNK.size + 4 : start].decode(errors="replace"), content[start + 8 :]
    records = _decompressed(compression, compressed)
    end = 0
    while end + _RECORD.size <= len(records):
        opcode, length = _RECORD.unpack_from(records, end)
        if opcode == 0 or end + _RECORD.size + length > len(records):
            break
        end += _RECORD.size + length
    return records[:end]


def _decompressed(compression: str, compressed: bytes) -> bytes:
    """As much as can be decompressed of data whose end is missing."""
    try:
        if compression == "zstd":
            return zstd.ZstdDecompressor().decompress(compressed)
        if compression == "lz4":
            return bytes(LZ4FrameDecompressor().decompress(compressed))
    except (zstd.ZstdError, RuntimeError):  # damaged inside: nothing in the chunk can be trusted
        return b""
    return compressed if compression == "" else b""


class _Continued(io.RawIOBase):
    """The first bytes of a file, and others behind them."""

    def __init__(self, file: BinaryIO, length: int, rest: bytes) -> None:
        self._file = file
        self._length = length
        self._rest = rest
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length + len(self._rest)}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer)
        if self._position < self._length:
            self._file.seek(self._position)
            found = self._file.read(min(wanted, self._length - self._position))
        else:
            start = self._position - self._length
            found = self._rest[start : start + wanted]
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def close(self) -> None:
        self._file.close()
        super().close()
