"""Damaged and hostile files by the hundred: each is read, or refused with an error that names it, and soon."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instance_seg_ros.bags.reader import FrameReader, InputCounts, topics_of
from instance_seg_ros.bags.storage import opened_bag
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.files.captures import read_capture, write_capture
from instance_seg_ros.messages.types import load_typestore

CAPTURES, BAGS, HUNTED = 800, 150, 20_000
LONGEST_S = 3.0
"""Of CPU time, as the machine may be busy."""
HOSTILE_TEXTS = (b"1e999", b"-1", b"NaN", b"null", b"[]", b"{", b'"\\ud800"', b"9" * 400, b"\xff\xfe")


def spoil(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, emptied, with bytes changed, with a length of 4 bytes made huge, or with a text put in."""
    how = rng.integers(5)
    place = int(rng.integers(len(content))) if content else 0
    if how == 0:
        return content[:place]
    if how == 1:
        return (
            content[:place] + struct.pack("<I", rng.choice((0, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))) + content[place + 4 :]
        )
    if how == 2:
        return content[:place] + HOSTILE_TEXTS[int(rng.integers(len(HOSTILE_TEXTS)))] + content[place + 3 :]
    changed = bytearray(content)
    for _ in range(rng.integers(1, 20)):
        changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
    return bytes(changed)


def was_read(read: Callable[[], object], *named: str) -> bool:
    """Whether it was; otherwise it was refused with an error that names one of these."""
    start_s, refusal = time.process_time(), ""
    try:
        read()
    except InputError as error:
        refusal = str(error)
        assert any(name in refusal for name in named), refusal
    assert time.process_time() - start_s < LONGEST_S
    return not refusal


def capture_round(folder: Path, whole: dict[str, bytes], rng: np.random.Generator) -> bool:
    damaged = str(rng.choice(list(whole)))
    for name, content in whole.items():
        (folder / name).write_bytes(spoil(content, rng) if name == damaged else content)
    return was_read(lambda: read_capture(folder), str(folder))


def whole_capture(folder: Path, frame: RgbdFrame) -> dict[str, bytes]:
    write_capture(folder, frame, np.ones(frame.depth_m.shape, np.uint16))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def bag_round(bag: Path, typestore: Any, rng: np.random.Generator, content: bytes) -> bool:
    bag.write_bytes(spoil(content, rng))

    def read() -> None:
        with opened_bag(bag) as opened:
            reader = FrameReader(opened, typestore, topics_of(opened), 0.025, InputCounts())
            assert all(isinstance(frame, RgbdFrame) for _, frame in reader.read())

    return was_read(read, bag.name, "the bag has /", "the bag has no topics")


def test_damaged_captures_are_read_or_refused(tmp_path: Path, make_frame: Callable[..., RgbdFrame]) -> None:
    rng, whole = np.random.default_rng(14), whole_capture(tmp_path, make_frame())
    assert 0 < sum(capture_round(tmp_path, whole, rng) for _ in range(CAPTURES)) < CAPTURES


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_damaged_bags_are_read_or_refused(
    write_bag: Callable, recorded: list, typestore: Any, tmp_path: Path, storage: str
) -> None:
    [bag] = [path for path in write_bag(recorded, storage).iterdir() if path.suffix in (".mcap", ".db3")]
    rng, content = np.random.default_rng(14), bag.read_bytes()
    assert 0 < sum(bag_round(tmp_path / bag.name, typestore, rng, content) for _ in range(BAGS)) < BAGS


@pytest.mark.hunt
def test_hunt_for_files_that_do_harm(
    write_bag: Callable, recorded: list, tmp_path: Path, make_frame: Callable[..., RgbdFrame]
) -> None:
    seeds = np.random.SeedSequence()
    print(f"seed {seeds.entropy}")  # which the report of a failure shows
    rng, typestore = np.random.default_rng(seeds), load_typestore()
    whole = whole_capture(tmp_path / "capture", make_frame())
    [bag] = write_bag(recorded, "mcap").glob("*.mcap")
    content = bag.read_bytes()
    for _ in range(HUNTED):
        capture_round(tmp_path / "capture", whole, rng)
        bag_round(tmp_path / bag.name, typestore, rng, content)
