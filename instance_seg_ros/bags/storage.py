"""The files of a recording: a rosbag2 opened for reading, through `rosbags`, with errors that a user can act on.

A recording that ended in a crash can be read as well: without its metadata.yaml, or cut short.
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, StoragePlugin

from instance_seg_ros.bags.cut_mcap import CutMcap, is_cut
from instance_seg_ros.core.errors import InputError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STORAGES = {"sqlite3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}

_COMPRESSED = ".zstd"
_FILE_ENDINGS = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
_ROS1_MAGIC = b"#ROSBAG V"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_COPY_BYTES = 1 << 20


class BagError(InputError):
    """A bag cannot be used; the message names the bag, the cause and, if there is one, the cure."""


class RecordedMessage(NamedTuple):
    """A message of a bag: its topic and type (`connection`), the time of its recording and its serialised bytes."""

    connection: Connection
    time_ns: int
    raw: bytes


class Bag:
    """An open rosbag2.

    Attributes:
        path: of the bag.
        storage: how its messages are stored, a key of `STORAGES`.
        warnings: what is wrong with it though it can be read, each with its cure.
    """

    def __init__(self, path: Path, storage: str, readers: Sequence[Reader], warnings: Sequence[str]) -> None:
        self.path = path
        self.storage = storage
        self.warnings = tuple(warnings)
        self._readers = readers

    @property
    def types(self) -> dict[str, str]:
        """Topic name to message type."""
        return {connection.topic: connection.msgtype for reader in self._readers for connection in reader.connections}

    def count(self, topics: Collection[str]) -> int:
        """How many messages it says to hold on these topics."""
        return sum(connection.msgcount for reader in self._readers for connection in _on_topics(reader, topics))

    def messages(self, topics: Collection[str]) -> Iterator[RecordedMessage]:
        """The messages on these topics, in the order of their recording.

        Raises:
            BagError: when the storage cannot be read any further, or holds fewer messages than it says.
        """
        read = 0
        try:
            for reader in self._readers:
                connections = _on_topics(reader, topics)
                if not connections:  # rosbags would take an empty list for all topics
                    continue
                for connection, time_ns, raw in reader.messages(connections=connections):
                    read += 1
                    # Message by message, since the metadata that would have said it is missing.
                    whole = zstd.decompress(raw) if bytes(raw[:4]) == _ZSTD_MAGIC else raw
                    yield RecordedMessage(connection, time_ns, whole)
        except Exception as error:  # of rosbags or of any library below it, for damaged data
            raise _unreadable(self.path, error) from error
        if read < self.count(topics):  # a damaged chunk of an mcap file is passed over without an error
            raise BagError(
                f"{self.path} cannot be read as a rosbag2: of {self.count(topics)} messages only {read} are whole"
            )


@contextlib.contextmanager
def opened_bag(path: Path) -> Iterator[Bag]:
    """A rosbag2 folder, or a single file of one, for reading.

    Raises:
        BagError: for the many kinds of errors that opening one may raise.
    """
    if not path.exists():
        raise BagError(f"{path} does not exist")
    files = _storage_files(path)
    with contextlib.ExitStack() as stack:
        if path.is_file():
            yield _opened_files(path, files, stack, [])
        elif (path / "metadata.yaml").is_file():
            yield _opened_folder(path, files, stack)
        else:
            missing = f"{path} has no metadata.yaml: its files are read without it; `ros2 bag reindex` writes it again"
            yield _opened_files(path, files, stack, [missing])


def _storage_files(path: Path) -> list[Path]:
    """The files of a bag in the order of their numbers; BagError where there is none."""
    if path.is_file():
        with contextlib.suppress(OSError), path.open("rb") as file:
            if file.read(len(_ROS1_MAGIC)) == _ROS1_MAGIC:
                raise BagError(
                    f"{path} is a bag of ROS 1; `rosbags-convert --src {path} --dst NEW_FOLDER`, which is installed "
                    "beside this command, makes a rosbag2 of it"
                )
        if not path.name.endswith(_FILE_ENDINGS):
            raise BagError(f"{path} is no rosbag2: give a folder, or a file {' or '.join(_FILE_ENDINGS)}")
        return [path]
    files = [file for file in path.iterdir() if file.name.endswith(_FILE_ENDINGS)]
    if not files and not (path / "metadata.yaml").is_file():
        raise BagError(f"{path} is no rosbag2: it holds no metadata.yaml; give the folder of a recording")
    return sorted(files, key=_number_and_name)


def _number_and_name(file: Path) -> tuple[int, str]:
    """recording_2.mcap comes before recording_10.mcap."""
    number = re.search(r"_(\d+)\.", file.name)
    return int(number.group(1)) if number else 0, file.name


def _opened_folder(path: Path, files: Sequence[Path], stack: contextlib.ExitStack) -> Bag:
    """Opened as its metadata.yaml says or, where that fails, file by file."""
    try:
        reader = Reader(path)
        stack.enter_context(reader)
    except Exception as error:  # of rosbags or of any library below it, for damaged data
        unreadable = _unreadable(path, error)
        if not files:
            raise unreadable from error
        told = (
            f"{path}'s metadata.yaml cannot be used: {_cause_of(error)}; its files are read without it; "
            f"`ros2 bag reindex -s {_storage_of(files)} {path.name}` writes it again"
        )
        try:
            return _opened_files(path, files, stack, [] if any(_is_cut_mcap(file) for file in files) else [told])
        except BagError:
            raise unreadable from error
    return Bag(path, _storage_of(files), [reader], [])


def _opened_files(path: Path, files: Sequence[Path], stack: contextlib.ExitStack, warnings: list[str]) -> Bag:
    """Opened file by file, whatever a metadata.yaml says."""
    readers = []
    try:
        for file in files:
            plain = _decompressed(file, stack) if file.name.endswith(_COMPRESSED) else file
            cut = _is_cut_mcap(plain)
            if cut:
                warnings.append(
                    f"{file} was cut short: its complete messages are read; `mcap recover {file.name}` writes a "
                    "complete file"
                )
            reader = Reader(CutMcap(plain) if cut else plain)
            readers.append(stack.enter_context(reader))
    except Exception as error:  # of rosbags or of any library below it, for damaged data
        raise _unreadable(path, error) from error
    return Bag(path, _storage_of(files), readers, warnings)


def _is_cut_mcap(file: Path) -> bool:
    return file.suffix == ".mcap" and is_cut(file)


def _storage_of(files: Sequence[Path]) -> str:
    return "mcap" if any(".mcap" in file.suffixes for file in files) else "sqlite3"


def _decompressed(file: Path, stack: contextlib.ExitStack) -> Path:
    """The content of a .zstd file, in a folder that the stack removes; for a file that was cut, as much as there is."""
    target = Path(stack.enter_context(tempfile.TemporaryDirectory())) / file.stem
    with zstd.open(file, "rb") as source, target.open("wb") as whole, contextlib.suppress(EOFError):
        while piece := source.read1(_COPY_BYTES):
            whole.write(piece)
    return target


def _on_topics(reader: Reader, topics: Collection[str]) -> list[Connection]:
    return [connection for connection in reader.connections if connection.topic in topics]


def _unreadable(path: Path, error: BaseException) -> BagError:
    cure = "a recording that was cut short: `ros2 bag reindex` may help"
    return BagError(f"{path} cannot be read as a rosbag2: {_cause_of(error)}; {cure}")


def _cause_of(error: BaseException) -> str:
    """An error's text on one line, without what `rosbags` asks of its own users."""
    text = " ".join(str(error).split()).removesuffix("; please report issue.")
    return text or type(error).__name__
