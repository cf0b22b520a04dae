"""Labelled frames of a COCO data set, read as training reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.instances import NO_STUFF, Instances
from instance_seg_ros.learning.datasets.coco_data import (
    IGNORED_LABEL,
    CocoData,
    CocoFiles,
    label_image,
    stuff_image,
)
from instance_seg_ros.learning.datasets.coco_images import read_color, read_depth
from instance_seg_ros.learning.datasets.labelled_frames import LabelledFrame, spread


def coco_frames(data: CocoData, files: CocoFiles, limit: int) -> Iterator[LabelledFrame]:
    """The images of a data set, in the order of its file; grouped by their folders.

    As in COCO's own evaluation, every object counts as labelled, and predictions elsewhere are wrong, but for those on
    ignored regions (`iscrowd`, annotations without a usable mask). A pixel of several objects belongs to the smallest
    one, as in training, since a model's masks do not overlap either.

    Args:
        data: what `read_coco` read.
        files: what it was read from.
        limit: at most this many images, evenly spread; 0 for all.

    Raises:
        InputError: a file cannot be decoded, though its header was sound.
    """
    for index in spread(len(data.images), limit):
        image = data.images[index]
        labels, class_ids = label_image(image)
        ignored = labels == IGNORED_LABEL
        stuff = stuff_image(image) if image.stuff else None
        if stuff is not None:
            stuff[labels > 0] = NO_STUFF
        labels[ignored] = 0
        visible = np.unique(labels[labels > 0])  # an object may be covered completely by smaller ones
        truth = replace(
            Instances.from_labels(labels),
            class_ids=class_ids[visible.astype(int) - 1],
            class_names=data.class_names,
            stuff=stuff,
        )
        frame = RgbdFrame(read_color(image), read_depth(image, files.depth_unit_m), image.camera)
        path = _inside(image.color_path, files.images)
        yield LabelledFrame(path.with_suffix("").as_posix(), frame, truth, True, ignored, group=path.parent.as_posix())


def _inside(path: Path, folder: Path) -> Path:
    """A path relative to a folder, only its name if it lies elsewhere: the pictures of a report are named after it."""
    path, folder = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    return path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
