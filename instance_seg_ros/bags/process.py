"""A rosbag2 in, a rosbag2 with the results out: no ROS is needed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.bags.reader import DEFAULT_TOLERANCE_S, FrameReader, InputCounts, topics_of
from instance_seg_ros.bags.storage import BagError, opened_bag
from instance_seg_ros.bags.transforms import MAX_GAP_NS
from instance_seg_ros.bags.writer import new_bag
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages.types import load_typestore
from instance_seg_ros.pipeline import Pipeline, Scene
from instance_seg_ros.tracking.tracker import TimeStep


@dataclass
class BagSummary(InputCounts):
    """What became of a bag.

    Attributes:
        frames: number of frames for which results were written.
        instances, grasps: found in all frames together.
        elapsed_s: wall-clock time.
        stage_times_s: total seconds of each stage.
        time_steps: number of frames by how their stamps follow each other.
    """

    frames: int = 0
    instances: int = 0
    grasps: int = 0
    elapsed_s: float = 0.0
    stage_times_s: Counter[str] = field(default_factory=Counter)
    time_steps: Counter[TimeStep] = field(default_factory=Counter)


def check_bag(source: Path, target: Path, topic_overrides: Mapping[str, str | None] | None = None) -> None:
    """What `process_bag` finds before the first message.

    Raises:
        BagError: when the bag cannot be opened or has no such camera, or the target exists.
    """
    _check_target(target)
    with opened_bag(source) as bag:
        topics_of(bag, topic_overrides)


def _check_target(target: Path) -> None:
    if target.exists():
        raise BagError(f"{target} exists already; give --out a folder that does not")


def process_bag(
    source: Path,
    target: Path,
    pipeline: Pipeline,
    *,
    topic_overrides: Mapping[str, str | None] | None = None,
    tolerance_s: float = DEFAULT_TOLERANCE_S,
    storage: str | None = None,
    copy_inputs: bool = False,
    max_frames: int | None = None,
    T_color_depth: Transform | None = None,
    rectified: bool = False,
    fixed_frame: str = "",
    level_frame: str = "",
    pose_gap_ns: int = MAX_GAP_NS,
    progress: Callable[[int, int], None] = lambda read, total: None,
    listener: Callable[[Scene], None] = lambda scene: None,
) -> BagSummary:
    """Runs the pipeline on every frame of a bag and writes a bag with the results, which appears whole or not at all.

    If no frame could be processed, there is no new bag; the summary says why.
    The results have the stamps of their colour images and lie at the times at which the bag's frames were complete:
    `instances`, `label_image`, `overlay/compressed` (JPEG), `camera_info`, `cloud` and, for Foxglove, `annotations`
    and `scene`, under `/instance_seg`.

    Args:
        source: a rosbag2 folder, or a single .mcap or .db3 file.
        target: folder of the new bag; must not exist.
        tolerance_s, T_color_depth, rectified: see `FrameReader`.
        fixed_frame: the frame that tracks are kept in, in which transforms of the bag tell where the camera is; a frame
            whose pose they do not tell is lost. Empty: where the camera is, is told by what it sees.
        level_frame: a frame whose z axis is up, by which supports are found; empty for none.
        pose_gap_ns: between transforms that are farther apart a pose is not known; with 0 it is only at their stamps.
        storage: a key of `STORAGES`; None takes that of `source`.
        copy_inputs: copy the camera's topics and /tf_static too, so that the new bag can be played by itself.
        progress: called with the number of messages read and in total.
        listener: called with each scene.

    Raises:
        BagError: when the bag cannot be read, has no such camera or no such frame, or the target cannot be written.
    """
    started_s = time.perf_counter()
    _check_target(target)
    typestore = load_typestore()
    summary = BagSummary()
    pipeline.tracker.reset()  # each bag has a time of its own
    with opened_bag(source) as bag, new_bag(target, storage or bag.storage, typestore) as results:
        topics = topics_of(bag, topic_overrides)
        max_opening_m = pipeline.grasp_sampler.gripper_settings.max_opening_m
        pose_frames = {frame for frame in (fixed_frame, level_frame) if frame}
        frames = FrameReader(
            bag,
            typestore,
            topics,
            tolerance_s,
            summary,
            T_color_depth,
            rectified,
            max_opening_m,
            pose_frames,
            pose_gap_ns,
        )
        copy = results.copy if copy_inputs else lambda message: None
        for time_ns, frame in frames.read(copy, progress):
            T_fixed_camera = frames.pose(fixed_frame, frame) if fixed_frame else None
            if fixed_frame and T_fixed_camera is None:
                summary.lost[_unknown_pose(frame.frame_id, fixed_frame, pose_gap_ns)] += 1
                continue
            scene = pipeline.run(frame, T_fixed_camera, partial(_up, frames, frame, level_frame, summary.warnings))
            results.write(time_ns, scene, pipeline.grasp_sampler.settings)
            listener(scene)
            summary.frames += 1
            summary.instances += len(scene.instances)
            summary.grasps += sum(len(grasps.grasps) for grasps in scene.grasps)
            summary.stage_times_s.update(scene.stage_times_s)
            summary.time_steps[scene.time_step] += 1
            if summary.frames == max_frames:
                break
    summary.elapsed_s = time.perf_counter() - started_s
    return summary


def _unknown_pose(frame_id: str, fixed_frame: str, pose_gap_ns: int) -> str:
    """Why a frame is lost, in words."""
    between = f", nor between two transforms no more than {pose_gap_ns / 1e9:g} s apart" if pose_gap_ns else ""
    return f"the pose of {frame_id!r} in {fixed_frame!r} at its time is not in the bag{between}"


def _up(frames: FrameReader, frame: RgbdFrame, level_frame: str, warnings: list[str]) -> NDArray[np.float64] | None:
    """(3,) the way up in the camera's frame, where it is asked for and known; that it is not is told once."""
    if not level_frame:
        return None
    T_level_camera = frames.pose(level_frame, frame)
    if T_level_camera is not None:
        return T_level_camera.rotation[2]
    warning = (
        f"the pose of {frame.frame_id!r} in {level_frame!r} is not known at all times: supports without the way up"
    )
    if warning not in warnings:
        warnings.append(warning)
    return None
