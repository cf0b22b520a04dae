"""What of a model's masks is published as an object, and is it one: lifting under masks that a model made.

Masks are wrong where objects touch, and lifting then tells truly of what is no object. So each instance is first held
against the true labels, and only then against the true object.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.status import Status
from instance_seg_ros.learning.evaluation.geometry_errors import ObjectError, PlaneError, object_error, plane_error
from instance_seg_ros.learning.evaluation.geometry_scenes import TrueScene
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.segmentation.segmenter import Segmenter

_HALF = 0.5


class Shown(enum.Enum):
    """What a mask shows."""

    OBJECT = "an object"
    """The intersection over the union of both is more than a half."""
    SEVERAL = "several objects as one"
    """It covers more than half of each of them."""
    PIECE = "a piece of an object"
    NOTHING = "no object"
    """Most of it is background."""


@dataclass(frozen=True)
class Published:
    """One instance.

    Attributes:
        shown: by its mask.
        status: flags of lifting.
        error: of what lifting says, against the object that it is; of `Shown.OBJECT` alone.
    """

    shown: Shown
    status: Status
    error: ObjectError | None

    @property
    def is_silent(self) -> bool:
        """Whether it has status OK, and yet is no object, or something of it is wrong without a word."""
        return self.error.verdict.is_silent if self.error is not None else self.status == Status.OK


def published(scene: TrueScene, segmenter: Segmenter, lifter: Lifter) -> tuple[list[Published], PlaneError | None]:
    """Of every instance that a model finds in a scene, and of its support plane, where it has just one."""
    instances = segmenter.segment(scene.frame)
    lifted = lifter.lift(scene.frame, instances)
    true = {item.label: item for item in scene.objects}
    found = []
    for mask, instance in zip(instances.masks, lifted.instances, strict=True):
        shown, label = shown_by(mask, scene.labels)
        error = object_error(scene, true[label], instance, mask) if shown is Shown.OBJECT else None
        found.append(Published(shown, instance.status, error))
    return found, plane_error(scene, lifted.support_plane)


def shown_by(mask: NDArray[np.bool_], labels: NDArray[np.uint16]) -> tuple[Shown, int]:
    """What a mask (H, W) shows of the objects that are labelled (H, W; 0 is background), and the label of the most
    of it; 0 for none."""
    pixels = np.bincount(labels.reshape(-1))
    covered = np.bincount(labels[mask], minlength=len(pixels))
    background, covered[0] = int(covered[0]), 0
    most = int(np.argmax(covered))
    if background > _HALF * np.count_nonzero(mask):
        return Shown.NOTHING, 0
    if np.count_nonzero(covered > _HALF * pixels) > 1:
        return Shown.SEVERAL, most
    union = np.count_nonzero(mask) + int(pixels[most]) - int(covered[most])
    return (Shown.OBJECT if covered[most] > _HALF * union else Shown.PIECE), most


def shown_rows(found: Sequence[Published]) -> list[tuple[str, int, int, int]]:
    """By what is shown: how many instances, how many of these have status OK, and how many of those are wrong."""
    by_shown = {"all": list(found)} | {shown.value: [each for each in found if each.shown is shown] for shown in Shown}
    return [
        (name, len(own), sum(each.status == Status.OK for each in own), sum(each.is_silent for each in own))
        for name, own in by_shown.items()
    ]
