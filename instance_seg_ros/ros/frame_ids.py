"""What is odd about the frame_ids of images, which every result is in, and how it is mended."""

from __future__ import annotations

import re

_OPTICAL_LINKS = ("rgb_camera_link", "depth_camera_link")
"""Optical frames by another name: those of the Azure Kinect's driver."""


def frame_id_fault(what: str, frame_id: str) -> str | None:
    """The fault of a frame_id, with its cure; None for one that nothing speaks against.

    Args:
        what: whose it is, such as "the colour image".
        frame_id: as its header has it.
    """
    if not frame_id:
        return (
            f"the frame_id of {what} is empty, so that nobody can tell in which frame results are; set it in the "
            "camera's driver, to the camera's optical frame"
        )
    if frame_id.startswith("/"):
        return (
            f"the frame_id of {what}, {frame_id!r}, starts with a slash, with which tf2 finds no frame; have the "
            f"driver publish {frame_id.lstrip('/')!r}"
        )
    if re.search(r"(^|_)link$", frame_id) and frame_id not in _OPTICAL_LINKS:
        return (
            f"the frame_id of {what}, {frame_id!r}, is by its name a link's frame (x forward), but what is computed "
            "from an image is in an optical frame (z forward, x right): a planner would look for the objects beside "
            "the camera; have the driver publish the optical frame's id, such as 'camera_color_optical_frame'"
        )
    return None
