"""The validated result of a segmenter: masks, boxes, scores and classes of one frame, of equal length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

NO_STUFF = -1
"""Of a pixel: it is nothing that has no countable objects, such as walls."""
MAX_STUFF_CLASS_ID = 32_764
"""The panoptic image tells such classes from objects by its 16th bit, and has three values of its own."""


@dataclass(frozen=True, eq=False)
class Instances:
    """N instances of one image, best score first where a segmenter made them. Filtering is indexing.

    Attributes:
        masks: (N, H, W) bool, full image size; no pixel belongs to two instances.
        boxes_xyxy: (N, 4) float32, pixels, x0 <= x1 and y0 <= y1; pixel i covers [i, i + 1).
        scores: (N,) float32 in [0, 1].
        class_ids: (N,) int64, indices into `class_names`.
        class_names: names of all the classes that the model knows.
        stuff: (H, W) int32, index into `class_names` of what is no object at each pixel, such as a wall, at most
            MAX_STUFF_CLASS_ID; NO_STUFF where there is none of it, or an instance; None from a segmenter that tells
            objects alone.
        bounds_xywh: (N, 4) int64, left, top, width and height in pixels of the tight box of each mask, from who knows
            them anyway; without it `bounds` finds them.
        color_moved_px: how far to the right and down the picture was moved onto the depth before the masks were made.

    Raises:
        ValueError: when lengths, shapes, dtypes or ranges disagree, or a value is not finite. Whether masks overlap is
            not looked at: that takes every pixel.

    Example:
        >>> instances = Instances.empty(480, 640, ("object",))
        >>> len(instances[instances.scores > 0.5])
        0
    """

    masks: NDArray[np.bool_]
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    class_names: tuple[str, ...]
    stuff: NDArray[np.int32] | None = None
    bounds_xywh: NDArray[np.int64] | None = None
    color_moved_px: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if not isinstance(self.masks, np.ndarray) or self.masks.ndim != 3 or self.masks.dtype != np.bool_:
            raise ValueError(f"masks must be (N, H, W) bool, not {_kind(self.masks)}")
        count = len(self.masks)
        _check("boxes_xyxy", self.boxes_xyxy, (count, 4), np.float32)
        _check("scores", self.scores, (count,), np.float32)
        _check("class_ids", self.class_ids, (count,), np.int64)
        if not isinstance(self.class_names, tuple) or not all(isinstance(name, str) for name in self.class_names):
            raise ValueError(f"class_names must be a tuple of texts, not {self.class_names!r}")
        if not ((self.scores >= 0) & (self.scores <= 1)).all():  # False for NaN too
            raise ValueError(f"scores must lie in [0, 1], not {self.scores.tolist()}")
        if not np.isfinite(self.boxes_xyxy).all():
            raise ValueError(f"boxes_xyxy must be finite, not {self.boxes_xyxy.tolist()}")
        if (self.boxes_xyxy[:, :2] > self.boxes_xyxy[:, 2:]).any():
            raise ValueError(f"boxes_xyxy must have x0 <= x1 and y0 <= y1, not {self.boxes_xyxy.tolist()}")
        if not ((self.class_ids >= 0) & (self.class_ids < len(self.class_names))).all():
            raise ValueError(f"class_ids must index the {len(self.class_names)} class names: {self.class_ids.tolist()}")
        if self.bounds_xywh is not None:
            _check("bounds_xywh", self.bounds_xywh, (count, 4), np.int64)
        if self.stuff is not None:
            _check("stuff", self.stuff, self.masks.shape[1:], np.int32)
            last = min(len(self.class_names) - 1, MAX_STUFF_CLASS_ID)
            if self.stuff.size and not NO_STUFF <= self.stuff.min() <= self.stuff.max() <= last:
                raise ValueError(
                    f"stuff must index the {len(self.class_names)} class names, to {MAX_STUFF_CLASS_ID} at most, or be "
                    f"{NO_STUFF}: {self.stuff.min()} to {self.stuff.max()}"
                )

    @classmethod
    def empty(cls, height: int, width: int, class_names: tuple[str, ...]) -> Instances:
        """No instance in an image of this size."""
        return cls(
            np.zeros((0, height, width), dtype=bool),
            np.zeros((0, 4), dtype=np.float32),
            np.zeros(0, dtype=np.float32),
            np.zeros(0, dtype=np.int64),
            class_names,
        )

    @classmethod
    def from_labels(cls, labels: NDArray[np.integer], class_name: str = "object") -> Instances:
        """From a label image (H, W): one instance of score 1 for each value above 0, in ascending order."""
        values = np.unique(labels)
        values = values[values > 0]
        masks = labels[None] == values[:, None, None]
        return cls(
            masks,
            boxes_of_masks(masks),
            np.ones(len(values), dtype=np.float32),
            np.zeros(len(values), dtype=np.int64),
            (class_name,),
        )

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: NDArray | slice) -> Instances:
        """The instances that a boolean mask, an index array or a slice selects."""
        return replace(
            self,
            masks=self.masks[index],
            boxes_xyxy=self.boxes_xyxy[index],
            scores=self.scores[index],
            class_ids=self.class_ids[index],
            bounds_xywh=None if self.bounds_xywh is None else self.bounds_xywh[index],
        )

    def names(self) -> Iterator[str]:
        """The class name of each instance."""
        return (self.class_names[class_id] for class_id in self.class_ids)

    @cached_property
    def bounds(self) -> tuple[tuple[int, int, int, int], ...]:
        """Left, top, width and height in pixels of the tight box of each mask; width and height are 0 for an empty one.

        Found once, since stages ask for it in turn and it takes every pixel of every mask.
        """
        if self.bounds_xywh is not None:
            return tuple((left, top, width, height) for left, top, width, height in self.bounds_xywh.tolist())
        return tuple(cv2.boundingRect(mask.view(np.uint8)) for mask in self.masks)

    @property
    def image_size_wh(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.masks.shape[2], self.masks.shape[1]

    def label_image(self) -> NDArray[np.uint16]:
        """(H, W) uint16: 0 is background, instance i has the label i + 1."""
        labels = np.zeros(self.masks.shape[1:], dtype=np.uint16)
        for label, mask in enumerate(self.masks, start=1):
            labels[mask] = label
        return labels


def _check(name: str, array: NDArray[Any], shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} must be {shape} {np.dtype(dtype)}, not {_kind(array)}")


def _kind(value: object) -> str:
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__


def boxes_of_masks(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The tight boxes (N, 4) float32 xyxy of (N, H, W) masks; all zeros for an empty mask."""
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        if len(columns):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes
