"""Engines on disk: what an engine depends on, and a folder that holds each completely or not at all.

An engine is a pair of files: `<name>.engine`, and `<name>.json` with everything that the engine depends on and its
digest. The record is written last, and both appear by renaming, so a process that is killed at any moment leaves the
folder as it was, or with the new engine. A lock, which the kernel releases when its process ends, lets one process
build while the others wait for its engine.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_RECORD_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class EngineKey:
    """Everything that an engine depends on: engines of one key can stand in for each other, others cannot.

    Attributes:
        model_digest: of the model file, `ModelInfo.digest`.
        input_shapes: fixed shape by input name.
        tensorrt_version, gpu_name, compute_capability, multiprocessors: where it runs. The last distinguishes boards
            that share a name, such as Jetson Orin Nano and AGX.
        precision: how floating-point numbers are computed.
        builder_flags: names of the builder's and the network's flags.
        prepared_by: what changed the model file's graph on its way to the builder, with its version.
    """

    model_digest: str
    input_shapes: Mapping[str, tuple[int, ...]]
    tensorrt_version: str
    gpu_name: str
    compute_capability: str
    multiprocessors: int
    precision: str
    builder_flags: tuple[str, ...]
    prepared_by: str

    def facts(self) -> dict[str, object]:
        """The key as JSON reads it back."""
        facts: dict[str, object] = json.loads(json.dumps(dataclasses.asdict(self), sort_keys=True))
        return facts

    @property
    def name(self) -> str:
        """The name of the engine's files: short, and different for different keys."""
        return hashlib.sha256(json.dumps(self.facts(), sort_keys=True).encode()).hexdigest()[:24]


class EngineCache:
    """A folder of engines that any number of processes share.

    Args:
        folder: made when the first engine is stored.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def engine_path(self, key: EngineKey) -> Path:
        """Where the engine is, or will be."""
        return self._folder / f"{key.name}.engine"

    def load(self, key: EngineKey) -> bytes | None:
        """The engine, or None when there is none, or one that is cut short, damaged or was made for something else."""
        try:
            engine = self.engine_path(key).read_bytes()
            record = json.loads(self._record_path(key).read_text())
        except (FileNotFoundError, ValueError):
            return None
        return engine if record == _record(key, engine) else None

    def discard(self, key: EngineKey, engine: bytes, on_wait: Callable[[], None]) -> None:
        """Removes this engine, which proved to be of no use; one that another process built in its place stays.

        Args:
            on_wait: called before waiting for another process that builds this engine.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._locked(key, on_wait):
            if self.load(key) == engine:
                self._record_path(key).unlink()
                self.engine_path(key).unlink()

    def load_or_build(self, key: EngineKey, build: Callable[[], bytes], on_wait: Callable[[], None]) -> bytes:
        """The engine from the folder, or from `build`, stored.

        Args:
            build: called by one process at a time for one key; what it raises is raised here and nothing is stored.
            on_wait: called before waiting for another process that builds this engine.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._locked(key, on_wait):
            engine = self.load(key)
            if engine is None:
                engine = build()
                self._store(key, engine)
        return engine

    @contextmanager
    def _locked(self, key: EngineKey, on_wait: Callable[[], None]) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / f"{key.name}.lock", "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield  # closing the file releases the lock, and so does the end of the process, however it ends

    def _store(self, key: EngineKey, engine: bytes) -> None:
        _replace(self.engine_path(key), engine)
        _replace(self._record_path(key), json.dumps(_record(key, engine), indent=1).encode())

    def _record_path(self, key: EngineKey) -> Path:
        return self._folder / f"{key.name}.json"


def default_folder() -> Path:
    """The user's own folder for engines, below `$XDG_CACHE_HOME` or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "instance_seg_ros" / "engines"


def _record(key: EngineKey, engine: bytes) -> dict[str, object]:
    return {
        "format": _RECORD_FORMAT,
        "key": key.facts(),
        "engine_bytes": len(engine),
        "engine_sha256": hashlib.sha256(engine).hexdigest(),
    }


def _replace(path: Path, content: bytes) -> None:
    """Writes and waits until it is on the disk, since robots lose power. Only the holder of the lock may call this."""
    # Always the same name, so that what a killed process left is overwritten.
    temporary = path.with_name(f"{path.name}.part")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
