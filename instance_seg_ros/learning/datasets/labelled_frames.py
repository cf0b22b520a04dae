"""Labelled frames to evaluate on: captures, and scene stores seen through a depth sensor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.files.captures import LABELS_FILE, CaptureError, capture_folders, read_capture
from instance_seg_ros.learning.datasets.groups import groups
from instance_seg_ros.learning.datasets.judge_prints import print_on_surfaces
from instance_seg_ros.learning.datasets.photometric import PhotometricSettings, degrade_color
from instance_seg_ros.learning.synthetic.sensors.held_out_sensors import published_noise
from instance_seg_ros.learning.synthetic.sensors.sensor import (
    PRESETS,
    REFERENCE_WIDTH,
    SensorSettings,
    preset,
    simulate_depth,
)
from instance_seg_ros.learning.synthetic.store import SceneStore, open_store

MIN_VISIBLE_PX = 40
RANDOM_SENSOR = "random"
PUBLISHED_NOISE = "published_noise"
PASSIVE_STEREO = "passive_stereo"
SENSORS = (RANDOM_SENSOR, *PRESETS, PUBLISHED_NOISE, PASSIVE_STEREO)
"""Sensors that a store can be seen through. Training uses the first; the presets are of its kind, the last two not."""
DEPTH_MISSING = ("none", "half", "all")
CONDITIONS = ("missing", "misregistered", "bright", "dim", "printed")
"""What a store's frames can be given besides as they are: a third to half of the depth missing in patches, colour up to
1 % of the image's width beside the depth, four times or a fifth of the light, and prints of a kind that training never
sees on all objects."""

_PATCH_SHARE = 1 / 16
_COLOR_STREAM = 1
_CONDITION_STREAM = 2
_REGISTRATION_STREAM = 3
_GRAZING_DEG = 25.0
"""A camera whose optical axis is less steep looks along a horizontal support."""
_MISSING_SHARE = (1 / 3, 1 / 2)
_MISREGISTERED_SHARE = 0.01
_LIGHT = {"bright": 4.0, "dim": 0.2}


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """A frame and what is in it.

    Attributes:
        name: for the tables.
        frame: what the segmenter gets.
        truth: its labelled objects.
        complete: every object is labelled; else predictions elsewhere do not count.
        ignored: (H, W) bool, objects of which too little is visible to expect that they are found.
        clean_depth_m: (H, W) float32, the depth without noise; None for real frames.
        sensor: what a generated scene was seen through; empty for real frames.
        group: name of the group of frames that it belongs to; empty where there are no groups.
        condition: of CONDITIONS, what was done to the frame; empty for nothing.
        traits: of each object of a generated scene, a sum of store.TRAITS; empty where that is unknown.
        robot: (H, W) bool, the pixels of a robot, which is background; None where that is unknown.
        view: of a generated scene, whether the camera looks along its support ("grazing") or down at it ("steep").
    """

    name: str
    frame: RgbdFrame
    truth: Instances
    complete: bool
    ignored: NDArray[np.bool_]
    clean_depth_m: NDArray[np.float32] | None = None
    sensor: str = ""
    group: str = ""
    condition: str = ""
    view: str = ""
    traits: tuple[int, ...] = ()
    robot: NDArray[np.bool_] | None = None

    @property
    def objects(self) -> NDArray[np.bool_]:
        """(H, W) bool, every pixel that is known to be an object's."""
        result: NDArray[np.bool_] = self.truth.masks.any(axis=0) | self.ignored
        return result


def spread(count: int, limit: int) -> list[int]:
    """At most `limit` of the indices 0 to `count` - 1, evenly spread; all of them where the limit is 0."""
    chosen: list[int] = np.linspace(0, count - 1, min(limit, count) if limit else count).astype(int).tolist()
    return chosen


def is_store(folder: Path) -> bool:
    """Whether a folder is a scene store, damaged or not, rather than captures."""
    return (folder / "ids.npy").is_file() or (folder / "done.npy").is_file()


def captures(folder: Path, complete: bool = False, limit: int = 0) -> Iterator[LabelledFrame]:
    """The labelled captures of a folder, in the order of their names, grouped by the beginnings of their names.

    Args:
        folder: a capture, or a folder of captures.
        complete: every object in them is labelled.
        limit: at most this many of them, evenly spread; 0 for all.

    Raises:
        CaptureError: no labelled capture there, or a damaged one.
    """
    paths = capture_folders(folder)
    labelled = [index for index, path in enumerate(paths) if (path / LABELS_FILE).is_file()]
    if not labelled:
        raise CaptureError(f"no capture in {folder} has labels to measure against: a {LABELS_FILE} beside its depth")
    group_names = groups([path.name for path in paths])
    for index in (labelled[position] for position in spread(len(labelled), limit)):
        capture = read_capture(paths[index])
        assert capture.labels is not None
        truth = Instances.from_labels(capture.labels)
        nothing = np.zeros(capture.labels.shape, dtype=bool)
        yield LabelledFrame(capture.name, capture.frame, truth, complete, nothing, group=group_names[index])


def store_frames(
    folder: Path,
    limit: int,
    seed: int,
    sensors: Sequence[str] = (RANDOM_SENSOR,),
    conditions: Sequence[str] = (),
) -> Iterator[LabelledFrame]:
    """Frames of a scene store, evenly spread, each through every sensor, as it is and under every condition.

    Objects of fewer than 40 px are ignored. Colour, where the store has it, is that of a random camera, the same for
    every sensor.

    Args:
        folder: the store.
        limit: at most this many frames; 0 for all.
        seed: of the sensors and of the colour camera.
        sensors: of SENSORS.
        conditions: of CONDITIONS.

    Raises:
        ValueError: no sensor or condition has one of the names, the store lacks what one needs, or the folder is no
            complete store.
    """
    unknown = [name for name in sensors if name not in SENSORS]
    if unknown or not sensors:
        raise ValueError(f"no sensor named {', '.join(unknown)!r}; choose from {', '.join(SENSORS)}")
    unknown = [name for name in conditions if name not in CONDITIONS]
    if unknown:
        raise ValueError(f"no condition named {', '.join(unknown)!r}; choose from {', '.join(CONDITIONS)}")
    store = open_store(folder)
    for index in store.frames[spread(len(store), limit)].tolist():
        ids = np.array(store.ids[index])
        areas = np.bincount(ids.ravel(), minlength=256)
        ignored = (ids > 0) & (areas[ids] < MIN_VISIBLE_PX)
        truth = Instances.from_labels(np.where(ignored, 0, ids))
        traits: tuple[int, ...] = ()
        if store.traits is not None:
            traits = tuple(store.traits[store.scene_id[index]][np.unique(ids[(ids > 0) & ~ignored])].tolist())
        robot = None if store.robot is None else np.array(store.robot[index])
        intrinsics = store.camera(index)
        steepness = -float(store.T_world_camera[index][2, 2])
        view = "grazing" if steepness < math.sin(math.radians(_GRAZING_DEG)) else "steep"
        for sensor in sensors:
            measured_m, beside_px = _measured(store, index, sensor, np.random.default_rng((seed, index)))
            registration_rng = np.random.default_rng((seed, index, _REGISTRATION_STREAM))
            color_beside_px = beside_px * registration_rng.standard_normal(2)
            for condition in ("", *conditions):
                rng = np.random.default_rng((seed, index, _CONDITION_STREAM))
                depth_m, color_rgb = measured_m, None
                if condition == "missing":
                    depth_m = measured_m.copy()
                    depth_m[_patches(depth_m > 0, rng, rng.uniform(*_MISSING_SHARE))] = 0
                if store.color is not None:
                    color_rng = np.random.default_rng((seed, index, _COLOR_STREAM))
                    clean_rgb = np.array(store.color[index])
                    if condition == "printed":
                        rotation = np.array(store.T_world_camera[index][:3, :3], np.float64)
                        clean_rgb = print_on_surfaces(clean_rgb, store.depth_m(index), ids, intrinsics, rotation, rng)
                    color_rgb = _seen_color(clean_rgb, condition, color_beside_px, rng, color_rng)
                yield LabelledFrame(
                    f"{index:06d}",
                    RgbdFrame(color_rgb, depth_m, intrinsics),
                    truth,
                    True,
                    ignored,
                    store.depth_m(index),
                    sensor,
                    condition=condition,
                    view=view,
                    traits=traits,
                    robot=robot,
                )


def _seen_color(
    clean_rgb: NDArray[np.uint8],
    condition: str,
    beside_px: NDArray[np.float64],
    rng: np.random.Generator,
    color_rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Clean colour (H, W, 3) as a random camera sees it under a condition, `beside_px` to the right and down."""
    height, width = clean_rgb.shape[:2]
    if condition in _LIGHT:
        clean_rgb = cv2.convertScaleAbs(clean_rgb, alpha=_LIGHT[condition]).astype(np.uint8)
    elif condition == "misregistered":
        beside_px = beside_px + rng.uniform(-1, 1, 2) * _MISREGISTERED_SHARE * width
    if beside_px.any():
        shift = np.array([[1, 0, beside_px[0]], [0, 1, beside_px[1]]])
        moved = cv2.warpAffine(clean_rgb, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
        clean_rgb = np.asarray(moved, np.uint8)
    return degrade_color(clean_rgb, color_rng, PhotometricSettings())


def _measured(
    store: SceneStore, index: int, sensor: str, rng: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """The depth (H, W) that a sensor gives of a frame of a store, and how far its colour lies beside it: a standard
    deviation in pixels.

    Labels are in the place of the depth, as clouds are cut out of it, so that the same error of registration which
    elsewhere moves depth against the true geometry moves colour here.
    """
    clean_depth_m = store.depth_m(index)
    if sensor == PUBLISHED_NOISE:
        return published_noise(clean_depth_m, rng), 0.0
    if sensor == PASSIVE_STEREO:
        return store.stereo_depth_m(index), 0.0
    settings = SensorSettings.sample(rng) if sensor == RANDOM_SENSOR else preset(sensor)
    beside_px = settings.shift_px * clean_depth_m.shape[1] / REFERENCE_WIDTH
    focal_px, settings = float(store.intrinsics[index][0]), replace(settings, shift_px=0.0)
    return simulate_depth(clean_depth_m, focal_px, rng, settings, store.behind_m(index)), beside_px


def degraded(source: LabelledFrame, depth_missing: str, without_color: bool, seed: int) -> LabelledFrame:
    """The same frame with less to see.

    Args:
        source: the frame.
        depth_missing: of DEPTH_MISSING; "half" takes half of the measured pixels away, in irregular patches.
        without_color: take the colour away.
        seed: of the patches.

    Raises:
        ValueError: `depth_missing` is none of DEPTH_MISSING.
    """
    if depth_missing not in DEPTH_MISSING:
        raise ValueError(f"depth_missing must be one of {', '.join(DEPTH_MISSING)}, not {depth_missing!r}")
    frame = source.frame
    depth_m = frame.depth_m.copy()
    if depth_missing == "all":
        depth_m[:] = 0
    elif depth_missing == "half":
        depth_m[_patches(depth_m > 0, np.random.default_rng(seed), 0.5)] = 0
    color_rgb = None if without_color else frame.color_rgb
    return replace(source, frame=replace(frame, depth_m=depth_m, color_rgb=color_rgb))


def _patches(measured: NDArray[np.bool_], rng: np.random.Generator, share: float) -> NDArray[np.bool_]:
    """That share of the measured pixels (H, W), in patches about a sixteenth of the image wide."""
    height, width = measured.shape
    cells = round(1 / _PATCH_SHARE)
    nodes = rng.standard_normal((max(2, cells * height // width), cells))
    noise = cv2.resize(nodes, (width, height), interpolation=cv2.INTER_CUBIC)
    level = np.quantile(noise[measured], 1 - share) if measured.any() else 0.0
    result: NDArray[np.bool_] = measured & (noise > level)
    return result
