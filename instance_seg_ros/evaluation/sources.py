"""Labelled frames to evaluate on: a folder of captures, or a scene store seen through a random sensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.camera import Intrinsics, RgbdFrame
from instance_seg_ros.instances import Instances
from instance_seg_ros.storage.captures import capture_folders, read_capture

MIN_VISIBLE_PX = 40


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """A frame and what is in it.

    Attributes:
        name: for the table.
        frame: what the segmenter gets.
        truth: (N, H, W) bool masks.
        complete: every object is labelled; else predictions elsewhere do not count.
    """

    name: str
    frame: RgbdFrame
    truth: NDArray[np.bool_]
    complete: bool


def is_store(folder: Path) -> bool:
    """Whether a folder is a scene store, not captures."""
    return (folder / "depth.npy").is_file() and (folder / "ids.npy").is_file()


def captures(folder: Path) -> Iterator[LabelledFrame]:
    """The labelled captures of a folder, in the order of their names; only some of their objects may be labelled.

    Raises:
        CaptureError: no capture there, or a damaged one.
    """
    for path in capture_folders(folder):
        capture = read_capture(path)
        if capture.labels is not None:
            truth = Instances.from_labels(capture.labels).masks
            yield LabelledFrame(capture.name, capture.frame, truth, complete=False)


def store_frames(folder: Path, limit: int, seed: int) -> Iterator[LabelledFrame]:
    """Frames of a scene store, evenly spread, each through a random camera; objects of fewer than 40 px are no objects.

    Args:
        folder: the store.
        limit: at most so many frames; 0 for all.
        seed: of the sensors.
    """
    from instance_seg_ros.synthetic.sensor import SensorSettings, simulate_depth
    from instance_seg_ros.synthetic.store import open_store

    store = open_store(folder)
    count = min(limit, len(store)) if limit else len(store)
    for index in store.frames[np.linspace(0, len(store) - 1, count).astype(int)]:
        rng = np.random.default_rng((seed, int(index)))
        fx, fy, cx, cy = (float(value) for value in store.intrinsics[index])
        depth_m = simulate_depth(store.depth_m(int(index)), (fx, fy, cx, cy), rng, SensorSettings.sample(rng))
        ids = np.array(store.ids[index])
        areas = np.bincount(ids.ravel(), minlength=256)
        ids[areas[ids] < MIN_VISIBLE_PX] = 0
        height, width = ids.shape
        frame = RgbdFrame(None, depth_m, Intrinsics(width, height, fx, fy, cx, cy))
        yield LabelledFrame(f"{index:06d}", frame, Instances.from_labels(ids).masks, complete=True)
