"""What a step could not do for an instance: flags, and the same flags in words for messages, files and pictures."""

from __future__ import annotations

import enum


class Status(enum.IntFlag):
    """Why a step could not do its whole work for an instance; the values are those of the Instance message."""

    OK = 0
    TOO_FEW_POINTS = 1
    NO_SUPPORT_PLANE = 2
    NO_GRASP_CANDIDATE = 4
    NO_COLLISION_FREE_GRASP = 8
    GRASPING_DISABLED = 16
    CUT_BY_IMAGE_BORDER = 32
    OCCLUDED = 64
    PARTLY_MEASURED = 128
    FLUSH = 256
    FRONT_ONLY = 512
    FOOT_NOT_SEEN = 1024


PARTLY_SEEN = Status.CUT_BY_IMAGE_BORDER | Status.OCCLUDED | Status.PARTLY_MEASURED
"""What the camera saw is not the whole outline: sizes are lower bounds, and the centre may be farther off."""


REASONS = {
    Status.TOO_FEW_POINTS: "too few measured points under the mask to place it in space",
    Status.NO_SUPPORT_PLANE: "no support plane under it, so centre and box are those of the measured points alone",
    Status.NO_GRASP_CANDIDATE: "no two facing surface points fit the gripper",
    Status.NO_COLLISION_FREE_GRASP: "the gripper would collide in every grasp",
    Status.GRASPING_DISABLED: "grasps are turned off",
    Status.CUT_BY_IMAGE_BORDER: "the image's border cuts it, so its size is at least what is given",
    Status.OCCLUDED: "something nearer hides part of it, so its size is at least what is given",
    Status.PARTLY_MEASURED: "part of it has no depth that could be used, so its size is at least what is given",
    Status.FLUSH: "it does not stand out from what it lies on: its height is not known, and it may be a print",
    Status.FRONT_ONLY: "only one upright face of it is in view, so how far it reaches back is at least what is given",
    Status.FOOT_NOT_SEEN: "its foot is not seen: that it ends on its support is assumed, it may end higher or lower",
}


def reason_of(status: Status) -> str:
    """The reasons of all the flags, joined by semicolons; empty for `Status.OK`."""
    return "; ".join(reason for flag, reason in REASONS.items() if flag & status)


def names_of(status: Status) -> list[str]:
    """The names of all the flags, lower case; empty for `Status.OK`."""
    return [str(flag.name).lower() for flag in REASONS if flag & status]
