"""How depth came to lie on colour, and what the images themselves say to that."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from instance_seg_ros.core.edge_agreement import REACH, WORKING_WIDTH, edge_agreement
from instance_seg_ros.core.geometry import Transform

_FIRST_CHECKS = 3
_CHECK_EVERY_FRAMES = 30
_CHECKS_KEPT = 10
_AGREES = 6.0
_GAIN = 5.0
_GAIN_TO_RETURN = 2.0
_BESIDE_SHARE = 0.5
_BORNE_OFFSET = 4
"""An offset up to this, 1.25 % of the image's width, is about what the network is trained to bear."""


class Registration:
    """Judges the frames of one camera, in order: the first three, then every 30th. Needs 2 ms of a core for each.

    The edges of depth and of colour are compared. Depth of colour's size whose edges lie on those of colour as it
    came, and not where its frame_id and CameraInfo would put them, was aligned by the driver and is not registered a
    second time. Where the edges of depth meet those of colour only moved by a distance, that is named.

    Attributes:
        pose: the frame_ids of colour and depth and `T_color_depth`, by which the latest depth was registered here; None
            where it came registered.
    """

    def __init__(self) -> None:
        self.pose: tuple[tuple[str, str], Transform] | None = None
        self._alignment_fault = ""
        self._offset_fault = ""
        self._frames = 0
        self._aligned = False
        self._gains: deque[float] = deque(maxlen=_CHECKS_KEPT)
        self._agreements: deque[NDArray[np.float32]] = deque(maxlen=_CHECKS_KEPT)

    @property
    def text(self) -> str:
        """`pose` in words; empty for none."""
        pose = self.pose  # the next frame may change it meanwhile
        return registration_text(*pose) if pose is not None else ""

    @property
    def fault(self) -> str:
        """What the images say against the registration, with the cure; empty for nothing."""
        return self._alignment_fault or self._offset_fault

    def take_registered(self, color_rgb: NDArray[np.uint8], depth_m: NDArray[np.float32]) -> None:
        """Takes the images of a frame whose depth came registered to colour."""
        self.pose, self._alignment_fault = None, ""
        if self._is_due():
            self._judge_offset(edge_agreement(color_rgb, depth_m), depth_m.shape[1])

    def choose(
        self,
        color_rgb: NDArray[np.uint8],
        came_m: NDArray[np.float32],
        registered_m: NDArray[np.float32],
        frames: tuple[str, str],
        T_color_depth: Transform,
        pose_is_given: bool,
    ) -> NDArray[np.float32]:
        """The depth of a frame to be used, of that which came and that which was registered to colour here.

        Args:
            color_rgb: (H, W, 3).
            came_m: (Hd, Wd), metres, as it came; where it has another size than colour it was certainly not aligned.
            registered_m: (H, W), metres.
            frames: the frame_ids of colour and of depth.
            T_color_depth: pose of the depth camera by which it was registered.
            pose_is_given: by the user, who is believed: what speaks against it is only told.
        """
        if self._is_due():
            agreement = edge_agreement(color_rgb, registered_m)
            if came_m.shape == registered_m.shape:
                came = edge_agreement(color_rgb, came_m)
                self._judge_alignment(came, agreement)
                self._alignment_fault = _alignment_fault(frames, pose_is_given) if self._aligned else ""
                agreement = came if self._aligned and not pose_is_given else agreement
            self._judge_offset(agreement, registered_m.shape[1])
        if self._aligned and not pose_is_given:
            self.pose = None
            return came_m
        self.pose = frames, T_color_depth
        return registered_m

    def _is_due(self) -> bool:
        self._frames += 1
        return self._frames <= _FIRST_CHECKS or self._frames % _CHECK_EVERY_FRAMES == 0

    def _judge_alignment(self, came: NDArray[np.float32], registered: NDArray[np.float32]) -> None:
        """Whether depth was aligned already; the gain must fall low before that is taken back."""
        self._gains.append(_in_place(came) - _in_place(registered))
        gain = float(np.mean(self._gains))
        aligned = gain > _GAIN_TO_RETURN if self._aligned else gain > _GAIN and _in_place(came) > _AGREES
        if aligned != self._aligned:
            self._agreements.clear()  # those of the other depth
        self._aligned = aligned

    def _judge_offset(self, agreement: NDArray[np.float32], width: int) -> None:
        """Names an offset at which the edges meet much better, over several frames."""
        self._agreements.append(agreement)
        if len(self._agreements) < _FIRST_CHECKS:
            return
        mean = np.mean(self._agreements, axis=0)
        row, column = np.unravel_index(mean.argmax(), mean.shape)
        right, down = int(column) - REACH, int(row) - REACH
        peak, in_place = float(mean.max()), _in_place(mean)
        # At the border of what was tried it is no peak: the agreement may rise further on.
        beside = _BORNE_OFFSET < max(abs(right), abs(down)) < REACH
        found = beside and peak > _AGREES and peak - in_place > _GAIN and in_place < _BESIDE_SHARE * peak
        scale = max(1, round(width / WORKING_WIDTH))
        self._offset_fault = _offset_fault(right * scale, down * scale) if found else ""


def _alignment_fault(frames: tuple[str, str], pose_is_given: bool) -> str:
    color_frame, depth_frame = frames
    if pose_is_given:
        return (
            "depth has the size of colour, and its edges lie on those of colour as it comes but not where the given "
            "pose of the depth camera puts them: it seems to be aligned to colour already; leave the pose empty"
        )
    return (
        f"depth has the size of colour, and its edges lie on those of colour as it comes but not where its frame_id "
        f"{depth_frame!r} and its CameraInfo put them: it was aligned to colour already, it seems, and is not "
        f"registered again; have the driver publish it with colour's frame_id {color_frame!r} and colour's K"
    )


def _offset_fault(right_px: int, down_px: int) -> str:
    return (
        f"the edges of depth do not lie on those of colour: they meet best with depth moved by {right_px} px to the "
        f"right and {down_px} px down; check K, the frame_ids and the depth camera's pose, and whether the driver "
        "aligns depth to colour"
    )


def registration_text(frames: tuple[str, str], T_color_depth: Transform) -> str:
    """The pose of the depth camera in words, from the frame_ids of colour and of depth."""
    color_frame, depth_frame = frames
    x, y, z = T_color_depth.translation_m
    turn_deg = np.degrees(Rotation.from_matrix(T_color_depth.rotation).magnitude())
    return f"{depth_frame} lies at {x:.4f} {y:.4f} {z:.4f} m in {color_frame}, turned by {turn_deg:.2f} degrees"


def _in_place(agreement: NDArray[np.float32]) -> float:
    """Where depth is not moved, or by a pixel."""
    return float(agreement[REACH - 1 : REACH + 2, REACH - 1 : REACH + 2].max())
