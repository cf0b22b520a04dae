"""Poses of frames in each other, from the transforms of a recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages.incoming import transform_of


class FrameTree:
    """Frames and the poses in which they are fixed to each other, as tf keeps them: each frame has one parent."""

    def __init__(self, edges: Mapping[str, tuple[str, Transform]] | None = None) -> None:
        """Takes child frame to (parent frame, T_parent_child)."""
        self._edges = dict(edges or {})

    def add(self, stamped: Any) -> None:
        """Takes a TransformStamped; it replaces what was known of its child frame.

        Raises:
            ValueError: naming its frames, where it is no transform.
        """
        parent, child = stamped.header.frame_id, stamped.child_frame_id
        try:
            self._edges[child] = (parent, transform_of(stamped.transform))
        except ValueError as error:
            raise ValueError(f"unusable transform from {child!r} to {parent!r}: {error}") from error

    def lookup(self, target_frame: str, source_frame: str) -> Transform | None:
        """`T_target_source`; None where no way leads from one frame to the other."""
        target_chain = self._chain_to_root(target_frame)
        source_chain = self._chain_to_root(source_frame)
        common = next((frame for frame in source_chain if frame in target_chain), None)
        return None if common is None else target_chain[common].inverse() @ source_chain[common]

    def _chain_to_root(self, frame: str) -> dict[str, Transform]:
        """Every ancestor of a frame, itself first, with T_ancestor_frame."""
        chain = {frame: Transform.identity()}
        current = frame
        while current in self._edges and self._edges[current][0] not in chain:
            parent, T_parent_current = self._edges[current]
            chain[parent] = T_parent_current @ chain[current]
            current = parent
        return chain
