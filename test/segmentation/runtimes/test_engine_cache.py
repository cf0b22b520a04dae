"""The engine cache holds an engine whole or not at all, whatever happens to the process that writes it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from instance_seg_ros.segmentation.runtimes.engine_cache import EngineCache, EngineKey

KEY = EngineKey(
    model_digest="a" * 64,
    input_shapes={"depth_m": (480, 640), "intrinsics": (4,)},
    tensorrt_version="10.3.0",
    gpu_name="Orin",
    compute_capability="8.7",
    multiprocessors=16,
    precision="tf32",
    builder_flags=("STRONGLY_TYPED", "TF32"),
    prepared_by="ONNX Runtime 1.20.0",
)
OTHER_VALUES = {
    "model_digest": "b" * 64,
    "input_shapes": {"depth_m": (720, 1280), "intrinsics": (4,)},
    "tensorrt_version": "10.13.3.9",
    "gpu_name": "NVIDIA H200",
    "compute_capability": "9.0",
    "multiprocessors": 8,
    "precision": "fp32",
    "builder_flags": ("STRONGLY_TYPED",),
    "prepared_by": "ONNX Runtime 1.21.0",
}
ENGINE = bytes(range(256)) * 40
REPOSITORY = Path(__file__).parents[3]


def never() -> None:
    raise AssertionError("called without need")


def build_nothing() -> bytes:
    raise AssertionError("built without need")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    """With the engine of KEY."""
    cache = EngineCache(tmp_path / "engines")
    assert cache.load_or_build(KEY, lambda: ENGINE, never) == ENGINE
    return cache


def test_an_engine_is_built_once_and_then_loaded(cache: EngineCache) -> None:
    assert cache.load(KEY) == ENGINE
    assert cache.load_or_build(KEY, build_nothing, never) == ENGINE


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(EngineKey)])
def test_an_engine_serves_nothing_that_differs_in_one_fact(cache: EngineCache, field: str) -> None:
    other = dataclasses.replace(KEY, **{field: OTHER_VALUES[field]})
    assert cache.load(other) is None
    assert cache.load_or_build(other, lambda: b"other", never) == b"other"
    assert cache.load(KEY) == ENGINE


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda engine, record: engine.write_bytes(ENGINE[:-1]), id="engine cut short"),
        pytest.param(lambda engine, record: engine.write_bytes(b""), id="engine empty"),
        pytest.param(lambda engine, record: engine.write_bytes(ENGINE[:-1] + b"!"), id="engine altered"),
        pytest.param(lambda engine, record: engine.unlink(), id="engine gone"),
        pytest.param(lambda engine, record: record.unlink(), id="record gone"),
        pytest.param(lambda engine, record: record.write_bytes(b""), id="record empty"),
        pytest.param(lambda engine, record: record.write_bytes(b"\xff\x00"), id="record is no text"),
        pytest.param(
            lambda engine, record: record.write_text(record.read_text().replace("Orin", "Xavier")), id="of another GPU"
        ),
        pytest.param(
            lambda engine, record: record.write_text(json.dumps({**json.loads(record.read_text()), "format": 0})),
            id="of another format",
        ),
    ],
)
def test_a_damaged_or_foreign_engine_is_built_again(cache: EngineCache, damage: Callable[[Path, Path], object]) -> None:
    damage(cache.engine_path(KEY), cache.engine_path(KEY).with_suffix(".json"))
    assert cache.load(KEY) is None
    assert cache.load_or_build(KEY, lambda: b"new", never) == b"new"
    assert cache.load(KEY) == b"new"


def test_a_discarded_engine_is_built_again(cache: EngineCache) -> None:
    cache.discard(KEY, ENGINE, never)
    cache.discard(KEY, ENGINE, never)
    assert cache.load_or_build(KEY, lambda: b"new", never) == b"new"


def test_an_engine_that_another_process_built_in_place_of_a_discarded_one_stays(cache: EngineCache) -> None:
    cache.discard(KEY, ENGINE, never)
    cache.load_or_build(KEY, lambda: b"new", never)
    cache.discard(KEY, ENGINE, never)  # by a second process, which had loaded the old one, too
    assert cache.load(KEY) == b"new"


def test_a_build_that_fails_stores_nothing_and_gives_the_lock_back(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)

    def fail() -> bytes:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        cache.load_or_build(KEY, fail, never)
    assert cache.load(KEY) is None
    assert cache.load_or_build(KEY, lambda: ENGINE, never) == ENGINE


# Kills a process before each line that load_or_build runs, building included, and looks each time at what another one
# finds then: in a folder that was empty, and in one that had a damaged engine.
KILL_EVERYWHERE = """
import os, signal, sys
from pathlib import Path
from instance_seg_ros.segmentation.runtimes import engine_cache
from test_engine_cache import ENGINE, KEY

folder, damaged = Path(sys.argv[1]), sys.argv[2] == "damaged"

def die_at(line_number):
    seen = 0
    def trace(frame, event, argument):
        nonlocal seen
        if frame.f_code.co_filename not in (engine_cache.__file__, "<string>"):
            return None
        if event == "line":
            seen += 1
            if seen == line_number:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

def build():
    parts = [ENGINE[start:start + 1000] for start in range(0, len(ENGINE), 1000)]
    return b"".join(parts)

kills = 0
while True:
    cache = engine_cache.EngineCache(folder / str(kills))
    if damaged:
        cache.load_or_build(KEY, lambda: ENGINE, lambda: None)
        cache.engine_path(KEY).write_bytes(b"damaged")
    child = os.fork()
    if child == 0:
        sys.settrace(die_at(kills + 1))
        cache.load_or_build(KEY, build, lambda: os._exit(3))
        sys.settrace(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert cache.load(KEY) in (None, ENGINE), kills
    def must_not_wait():
        raise AssertionError(f"the lock outlived its process, killed at {kills}")
    assert cache.load_or_build(KEY, build, must_not_wait) == ENGINE
    assert cache.load(KEY) == ENGINE
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
    kills += 1
print(kills)
"""


@pytest.mark.parametrize("before", ["empty", "damaged"])
def test_a_kill_at_any_line_of_a_build_leaves_a_cache_that_works(tmp_path: Path, before: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", KILL_EVERYWHERE, str(tmp_path), before],
        env={"PYTHONPATH": f"{REPOSITORY}:{Path(__file__).parent}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 50  # so many places were tried


HOLD_LOCK = """
import sys, time
from pathlib import Path
from instance_seg_ros.segmentation.runtimes.engine_cache import EngineCache
from test_engine_cache import ENGINE, KEY

def build():
    print("building", flush=True)
    sys.stdin.read()
    return ENGINE

EngineCache(Path(sys.argv[1])).load_or_build(KEY, build, lambda: None)
"""


@pytest.fixture
def building(tmp_path: Path) -> subprocess.Popen[str]:
    """A process in the middle of building the engine of KEY; it goes on when its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(tmp_path)],
        env={"PYTHONPATH": f"{REPOSITORY}:{Path(__file__).parent}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        yield process
        process.kill()


def test_who_comes_second_waits_and_takes_the_first_ones_engine(
    tmp_path: Path, building: subprocess.Popen[str]
) -> None:
    waited = []

    def on_wait() -> None:
        waited.append(building.pid)
        assert building.stdin is not None
        building.stdin.close()

    assert EngineCache(tmp_path).load_or_build(KEY, build_nothing, on_wait) == ENGINE
    assert waited == [building.pid]


def test_who_discards_an_engine_waits_for_the_process_that_builds_it(
    tmp_path: Path, building: subprocess.Popen[str]
) -> None:
    def on_wait() -> None:
        assert building.stdin is not None
        building.stdin.close()

    cache = EngineCache(tmp_path)
    cache.discard(KEY, b"refused", on_wait)
    assert cache.load(KEY) == ENGINE


def test_who_waits_for_a_process_that_is_killed_builds_the_engine(
    tmp_path: Path, building: subprocess.Popen[str]
) -> None:
    assert EngineCache(tmp_path).load_or_build(KEY, lambda: b"mine", building.kill) == b"mine"
    assert EngineCache(tmp_path).load(KEY) == b"mine"
