"""The files of a recording: a rosbag2 opened for reading, through `rosbags`, with errors that a user can act on."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError, StoragePlugin

from instance_seg_ros.core.errors import InputError

STORAGES = {"sqlite3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}

_BAG_SUFFIXES = (".mcap", ".db3")
# What rosbags and the libraries below it raise on a storage that is cut short or damaged.
_STORAGE_ERRORS = (ReaderError, sqlite3.Error, struct.error, EOFError, OSError, ValueError, KeyError, AssertionError)


class BagError(InputError):
    """A bag cannot be used; the message names the bag, the cause and, where there is one, the cure."""


class RecordedMessage(NamedTuple):
    """A message of a bag: its topic and type (`connection`), the time of its recording and its serialised bytes."""

    connection: Connection
    time_ns: int
    raw: bytes


class Bag:
    """An open rosbag2.

    Attributes:
        path: of the bag.
    """

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path = path
        self._reader = reader

    @property
    def types(self) -> dict[str, str]:
        """Topic name to message type."""
        return {connection.topic: connection.msgtype for connection in self._reader.connections}

    @property
    def storage(self) -> str:
        """How its messages are stored, a key of `STORAGES`."""
        return "mcap" if self.path.suffix == ".mcap" or any(self.path.glob("*.mcap")) else "sqlite3"

    def count(self, topics: Collection[str]) -> int:
        """How many messages it says to hold on these topics."""
        return sum(connection.msgcount for connection in self._connections(topics))

    def messages(self, topics: Collection[str]) -> Iterator[RecordedMessage]:
        """The messages on these topics, in the order of their recording.

        Raises:
            BagError: where the storage cannot be read on, or there are fewer messages than it says to hold.
        """
        connections = self._connections(topics)
        if not connections:  # rosbags would take none for all
            return
        read = 0
        try:
            for connection, time_ns, raw in self._reader.messages(connections=connections):
                read += 1
                yield RecordedMessage(connection, time_ns, raw)
        except _STORAGE_ERRORS as error:
            raise _unreadable(self.path, error) from error
        if read < self.count(topics):  # a damaged chunk of an mcap file is passed over without an error
            raise BagError(
                f"{self.path} cannot be read as a rosbag2: of {self.count(topics)} messages only {read} are whole"
            )

    def _connections(self, topics: Collection[str]) -> list[Connection]:
        return [connection for connection in self._reader.connections if connection.topic in topics]


@contextlib.contextmanager
def opened_bag(path: Path) -> Iterator[Bag]:
    """A rosbag2 folder, or a single .mcap or .db3 file, for reading.

    Raises:
        BagError: for the many kinds of errors that opening one may raise.
    """
    if not path.exists():
        raise BagError(f"{path} does not exist")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        cut_short = any(file.suffix in _BAG_SUFFIXES for file in path.iterdir())
        cure = "`ros2 bag reindex` makes it anew" if cut_short else "give the folder of a recording"
        raise BagError(f"{path} is no rosbag2: it holds no metadata.yaml; {cure}")
    if path.is_file() and path.suffix not in _BAG_SUFFIXES:
        raise BagError(f"{path} is no rosbag2: give a folder, or a file {' or '.join(_BAG_SUFFIXES)}")
    try:
        reader = Reader(path)
        reader.open()
    except _STORAGE_ERRORS as error:
        raise _unreadable(path, error) from error
    try:
        yield Bag(path, reader)
    finally:
        reader.close()


def _unreadable(path: Path, error: BaseException) -> BagError:
    cause = " ".join(str(error).split()) or type(error).__name__  # some libraries explain over several lines
    cure = "a recording that was cut short: `ros2 bag reindex` may help"
    return BagError(f"{path} cannot be read as a rosbag2: {cause}; {cure}")
