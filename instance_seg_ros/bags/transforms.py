"""Poses of frames in each other, from the transforms of a recording."""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages.incoming import stamp_ns_of, transform_of

MAX_EXTRAPOLATION_NS = 500_000_000
"""Before its first and after its last transform, a moving frame is assumed to stand still, but no longer than this."""
MAX_GAP_NS = 10_000_000_000
"""Between two transforms that are farther apart nothing is known: by the time of the second, tf's buffer has forgotten
the first."""


class _Moving:
    """`T_parent_child` over time, in few bytes a pose: a robot of seven joints tells millions in an hour."""

    def __init__(self) -> None:
        self._stamps_ns, self._poses = array("q"), array("d")
        self._in_order = True

    def add(self, stamp_ns: int, pose: Transform) -> None:
        """Adds the pose at a moment."""
        self._in_order &= not self._stamps_ns or stamp_ns >= self._stamps_ns[-1]
        self._stamps_ns.append(stamp_ns)
        self._poses.extend((*pose.quaternion_xyzw, *pose.translation_m))

    def at(self, stamp_ns: int, beyond_ns: int, gap_ns: int) -> Transform | None:
        """Interpolated between two moments no more than `gap_ns` apart, or that of a moment no farther off than
        `beyond_ns`; None where there is neither."""
        if not self._in_order:
            self._put_in_order()
        after = bisect.bisect_left(self._stamps_ns, stamp_ns)
        if after < len(self._stamps_ns) and self._stamps_ns[after] == stamp_ns:
            return self._pose(after)
        around = range(max(after - 1, 0), min(after + 1, len(self._stamps_ns)))
        if len(around) == 2:
            first_ns, second_ns = (self._stamps_ns[index] for index in around)
            if second_ns - first_ns <= gap_ns:
                share = (stamp_ns - first_ns) / (second_ns - first_ns)
                return _between(self._pose(after - 1), self._pose(after), share)
        nearest = min(around, key=lambda index: abs(self._stamps_ns[index] - stamp_ns))
        return self._pose(nearest) if abs(self._stamps_ns[nearest] - stamp_ns) <= beyond_ns else None

    def _pose(self, index: int) -> Transform:
        values = self._poses[7 * index : 7 * index + 7]
        return Transform.from_quaternion(tuple(values[:4]), tuple(values[4:]))

    def _put_in_order(self) -> None:
        order = np.argsort(self._stamps_ns, kind="stable")
        self._stamps_ns = array("q", np.array(self._stamps_ns)[order].tolist())
        self._poses = array("d", np.array(self._poses).reshape(-1, 7)[order].ravel().tolist())
        self._in_order = True


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
            ValueError: as `add_static`, or its child is known in another frame, which would be taken for this one.
        """
        child, pose = stamped.child_frame_id, _checked(stamped)
        parent = self._parents.setdefault(child, stamped.header.frame_id)
        if parent != stamped.header.frame_id:
            raise ValueError(
                f"unusable transform from {child!r} to {stamped.header.frame_id!r}: it was told in {parent!r} before"
            )
        self._moving.setdefault(child, _Moving()).add(stamp_ns_of(stamped.header), pose)

    def lookup(
        self,
        target_frame: str,
        source_frame: str,
        stamp_ns: int,
        beyond_ns: int = MAX_EXTRAPOLATION_NS,
        gap_ns: int = MAX_GAP_NS,
    ) -> Transform | None:
        """`T_target_source` at that time; None if the frames are not connected, or a pose on the way is not known then.

        Args:
            beyond_ns: for so long before its first and after its last transform, and the two at a longer gap than the
                next, a frame is assumed to stand still.
            gap_ns: between transforms that are no farther apart a frame is assumed to move evenly.
        """
        way = way_between(self._parents, target_frame, source_frame)
        if way is None:
            return None
        T_common_target, T_common_source = (self._along(frames, stamp_ns, beyond_ns, gap_ns) for frames in way)
        if T_common_target is None or T_common_source is None:
            return None
        return T_common_target.inverse() @ T_common_source

    def parents(self) -> dict[str, str]:
        """Child frame to parent frame."""
        return dict(self._parents)

    def _along(self, frames: Iterable[str], stamp_ns: int, beyond_ns: int, gap_ns: int) -> Transform | None:
        """The pose of the first of these frames, each a child of the next, in the parent of the last."""
        pose = Transform.identity()
        for frame in frames:
            static = self._static.get(frame)
            step = static if static is not None else self._moving[frame].at(stamp_ns, beyond_ns, gap_ns)
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


def way_between(parents: dict[str, str], target_frame: str, source_frame: str) -> tuple[list[str], list[str]] | None:
    """Of each of two frames, itself and its ancestors below the first that both have; None where they have none."""
    of_target, of_source = chain_to_root(parents, target_frame), chain_to_root(parents, source_frame)
    common = next((frame for frame in of_source if frame in of_target), None)
    if common is None:
        return None
    return of_target[: of_target.index(common)], of_source[: of_source.index(common)]


def _checked(stamped: Any) -> Transform:
    try:
        return transform_of(stamped.transform)
    except ValueError as error:
        frames = f"from {stamped.child_frame_id!r} to {stamped.header.frame_id!r}"
        raise ValueError(f"unusable transform {frames}: {error}") from error


def _between(before: Transform, after: Transform, share: float) -> Transform:
    """Linear in position, along the shortest rotation."""
    turn = Slerp([0.0, 1.0], Rotation.from_matrix([before.rotation, after.rotation]))
    translation_m = (1 - share) * before.translation_m + share * after.translation_m
    return Transform(np.asarray(turn(share).as_matrix()), translation_m)
