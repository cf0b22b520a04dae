"""Poses of frames in each other, from the transforms of a recording."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages.incoming import stamp_ns_of, transform_of

MAX_EXTRAPOLATION_NS = 500_000_000
"""Before its first and after its last transform, a moving frame is assumed to stand still, but no longer than this."""


class _Moving:
    """`T_parent_child` over time."""

    def __init__(self) -> None:
        self._stamps_ns: list[int] = []
        self._poses: list[Transform] = []

    def add(self, stamp_ns: int, pose: Transform) -> None:
        """Adds the pose at a moment."""
        place = bisect.bisect_right(self._stamps_ns, stamp_ns)
        self._stamps_ns.insert(place, stamp_ns)
        self._poses.insert(place, pose)

    def at(self, stamp_ns: int) -> Transform | None:
        """Interpolated between the two nearest moments; None too long before the first or after the last."""
        after = bisect.bisect_left(self._stamps_ns, stamp_ns)
        if 0 < after < len(self._stamps_ns):
            return _between(self._stamps_ns[after - 1 : after + 1], self._poses[after - 1 : after + 1], stamp_ns)
        end = 0 if after == 0 else -1
        near = abs(self._stamps_ns[end] - stamp_ns) <= MAX_EXTRAPOLATION_NS
        return self._poses[end] if near else None


class FrameTree:
    """Frames and their poses in each other, as tf keeps them: each frame has one parent."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._static: dict[str, Transform] = {}
        self._moving: dict[str, _Moving] = {}

    def add_static(self, stamped: Any) -> None:
        """Takes a TransformStamped that holds for all time; it replaces what was known of its child frame.

        Raises:
            ValueError: naming its frames, where it is no transform.
        """
        self._static[stamped.child_frame_id] = _checked(stamped)
        self._parents[stamped.child_frame_id] = stamped.header.frame_id

    def add_moving(self, stamped: Any) -> None:
        """Takes a TransformStamped that holds at its stamp.

        Raises:
            ValueError: as `add_static`.
        """
        moving = self._moving.setdefault(stamped.child_frame_id, _Moving())
        moving.add(stamp_ns_of(stamped.header), _checked(stamped))
        self._parents.setdefault(stamped.child_frame_id, stamped.header.frame_id)

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Transform | None:
        """`T_target_source` at that time; None if the frames are not connected, or a pose on the way is too old."""
        target_chain = chain_to_root(self._parents, target_frame)
        source_chain = chain_to_root(self._parents, source_frame)
        common = next((frame for frame in source_chain if frame in target_chain), None)
        if common is None:
            return None
        T_common_target = self._along(target_chain[: target_chain.index(common)], stamp_ns)
        T_common_source = self._along(source_chain[: source_chain.index(common)], stamp_ns)
        if T_common_target is None or T_common_source is None:
            return None
        return T_common_target.inverse() @ T_common_source

    def parents(self) -> dict[str, str]:
        """Child frame to parent frame."""
        return dict(self._parents)

    def _along(self, frames: Iterable[str], stamp_ns: int) -> Transform | None:
        """The pose of the first of these frames, each a child of the next, in the parent of the last."""
        pose = Transform.identity()
        for frame in frames:
            step = self._static[frame] if frame in self._static else self._moving[frame].at(stamp_ns)
            if step is None:
                return None
            pose = step @ pose
        return pose


def chain_to_root(parents: dict[str, str], frame: str) -> list[str]:
    """The frame and all its ancestors; a loop is followed once."""
    chain = [frame]
    while (parent := parents.get(chain[-1])) is not None and parent not in chain:
        chain.append(parent)
    return chain


def _checked(stamped: Any) -> Transform:
    try:
        return transform_of(stamped.transform)
    except ValueError as error:
        frames = f"from {stamped.child_frame_id!r} to {stamped.header.frame_id!r}"
        raise ValueError(f"unusable transform {frames}: {error}") from error


def _between(stamps_ns: list[int], poses: list[Transform], stamp_ns: int) -> Transform:
    """Linear in position, along the shortest rotation."""
    share = (stamp_ns - stamps_ns[0]) / max(stamps_ns[1] - stamps_ns[0], 1)
    turn = Slerp([0.0, 1.0], Rotation.from_matrix([pose.rotation for pose in poses]))
    translation_m = (1 - share) * poses[0].translation_m + share * poses[1].translation_m
    return Transform(np.asarray(turn(share).as_matrix()), translation_m)
