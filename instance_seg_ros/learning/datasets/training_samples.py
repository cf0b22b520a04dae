"""Labelled frames of any source with augmentation, as the network sees them.

Every sample is a function of (seed, step, slot) alone: training resumes exactly, whatever the number of workers and of
processes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from instance_seg_ros.learning.datasets.augmentation import AugmentationSettings
from instance_seg_ros.learning.datasets.misregistration import MisregistrationSettings
from instance_seg_ros.learning.datasets.photometric import PhotometricSettings, degrade_color
from instance_seg_ros.learning.datasets.prints import PrintSettings
from instance_seg_ros.learning.synthetic.sensors.sensor import SensorSettings, camera_vector

IGNORE_ID = 255
_REFRESH_S = 5.0
"""How often a process looks for new frames in a source that grows."""


@dataclass(frozen=True)
class Sample:
    """One training image.

    Attributes:
        depth_m: (1, H, W) float32.
        intrinsics: (4,) float32.
        ids: (H, W) uint8: 0 background, 1..N instances, 255 ignored.
        boxes_xyxy: (N, 4) float32.
        anchors_xy: (N, 2) float32, see `Labels`.
        class_ids: (N,) int64.
        color_rgb: (3, H, W) uint8, 0 throughout where there is none.
        behind_m: (H, W) float16, see `Images`, of a clean frame, else None.
        camera: (fields,) float32, the depth sensor that a clean frame is to be seen through, else None.
    """

    depth_m: Tensor
    intrinsics: Tensor
    ids: Tensor
    boxes_xyxy: Tensor
    anchors_xy: Tensor
    class_ids: Tensor
    color_rgb: Tensor
    behind_m: Tensor | None = None
    camera: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """B samples, stacked; N is the largest number of instances in one, and rows that an image lacks are 0.

    Attributes:
        depth_m: (B, 1, H, W) float32.
        intrinsics: (B, 4) float32.
        ids: (B, H, W) uint8.
        boxes_xyxy: (B, N, 4) float32.
        anchors_xy: (B, N, 2) float32.
        class_ids: (B, N) int64.
        color_rgb: (B, 3, H, W) uint8.
        behind_m: (B, H, W) float16, see `Images`, of clean frames, else None.
        cameras: (B, fields) float32, the depth sensors that clean frames are to be seen through, else None.
    """

    depth_m: Tensor
    intrinsics: Tensor
    ids: Tensor
    boxes_xyxy: Tensor
    anchors_xy: Tensor
    class_ids: Tensor
    color_rgb: Tensor
    behind_m: Tensor | None = None
    cameras: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`; a copy of pinned memory to a GPU does not wait for its end."""
        return self._mapped(lambda values: values.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in memory that a GPU can copy from by itself; the loader calls this."""
        return self._mapped(Tensor.pin_memory)

    def clone(self) -> Batch:
        """A batch with its own copy of every tensor."""
        return self._mapped(Tensor.clone)

    def copy_(self, other: Batch) -> None:
        """Takes the values of a batch of the same shapes."""
        for own, new in zip(self._tensors(), other._tensors(), strict=True):
            own.copy_(new)

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Keeps the memory, once it is given up, until `stream` has done what it has been asked to do by then."""
        for values in self._tensors():
            values.record_stream(stream)

    def _tensors(self) -> list[Tensor]:
        values = (getattr(self, field.name) for field in fields(self))
        return [value for value in values if value is not None]

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        present = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(value) for name, value in present.items() if value is not None})


@dataclass(frozen=True)
class Images:
    """One labelled frame before it becomes a sample.

    Attributes:
        depth_m: (H, W) float32, 0 = no measurement.
        ids: (H, W) uint8, 0 = background, 255 = ignored.
        intrinsics: (4,) float32 fx, fy, cx, cy.
        class_ids: (M,) int64, the class of each id from 1 to M, whether the frame shows it or not.
        color_rgb: (H, W, 3) uint8, or None.
        behind_m: (H, W) float32, 0 for ordinary surfaces, otherwise the depth of what is seen through clear ones,
            infinite for nothing; None where that is not known or does not matter any more.
    """

    depth_m: NDArray[np.float32]
    ids: NDArray[np.uint8]
    intrinsics: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    color_rgb: NDArray[np.uint8] | None = None
    behind_m: NDArray[np.float32] | None = None


class FrameSource(Protocol):
    """Labelled frames to train on, without augmentation."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class index."""

    @property
    def incomplete_share(self) -> float:
        """Share of the frames that lack depth or colour, though a network of both could use it; 0 for depth alone."""

    def __len__(self) -> int:
        """Number of frames."""

    def images(self, index: int, rng: np.random.Generator) -> Images:
        """A frame, of any size; whatever is random about it is drawn from `rng`."""

    def facts(self) -> dict[str, Any]:
        """What the training's record says of the data, JSON-ready."""


@runtime_checkable
class GrowingSource(Protocol):
    """A source that may get more frames while it is trained on."""

    def refresh(self) -> bool:
        """Takes in what has been made since; whether more may come."""


@runtime_checkable
class CleanSource(Protocol):
    """A source whose frames are perfect until something makes them look like a camera's, if `gives_clean`."""

    gives_clean: bool
    prints: PrintSettings
    misregistration: MisregistrationSettings

    def clean_images(self, index: int) -> Images:
        """A frame as it is, with what lies behind clear surfaces."""


def clean_source(source: FrameSource) -> CleanSource | None:
    """The source, if it can give its frames without a camera's faults."""
    return source if isinstance(source, CleanSource) and source.gives_clean else None


def resample_window(images: Images, offset_xy: tuple[float, float], scale: float, size_hw: tuple[int, int]) -> Images:
    """A window of the frame on a grid; what lies outside the frame is 0.

    Depth and ids take the nearest pixel, colour is interpolated, or averaged where it shrinks.

    Args:
        images: the frame.
        offset_xy: left and top edge of the window in pixels.
        scale: magnification; where the frame is smaller than the window, the grid is padded.
        size_hw: height and width of the grid.

    Returns:
        The window; its intrinsics describe the same rays.
    """
    height, width = images.depth_m.shape
    columns = np.floor((np.arange(size_hw[1]) + 0.5) / scale + offset_xy[0]).astype(np.int64)
    rows = np.floor((np.arange(size_hw[0]) + 0.5) / scale + offset_xy[1]).astype(np.int64)
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    index = np.ix_(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))
    fx, fy, cx, cy = images.intrinsics
    changed = (
        fx * scale,
        fy * scale,
        (cx + 0.5 - offset_xy[0]) * scale - 0.5,
        (cy + 0.5 - offset_xy[1]) * scale - 0.5,
    )
    color = images.color_rgb
    if color is not None:
        color = np.where(inside[..., None], _resample_color(color, offset_xy, scale, size_hw), np.uint8(0))
    return Images(
        np.where(inside, images.depth_m[index], np.float32(0)),
        np.where(inside, images.ids[index], np.uint8(0)),
        np.array(changed, dtype=np.float32),
        images.class_ids,
        color,
        None if images.behind_m is None else np.where(inside, images.behind_m[index], np.float32(0)),
    )


def _resample_color(
    color_rgb: NDArray[np.uint8], offset_xy: tuple[float, float], scale: float, size_hw: tuple[int, int]
) -> NDArray[np.uint8]:
    """The window of `resample_window`, the image's border repeated where it ends."""
    left, top = offset_xy
    if scale < 1:  # first the whole image, averaged over the area of the new pixels; then the rest without shrinking
        height, width = (max(round(side * scale), 1) for side in color_rgb.shape[:2])
        shrunk_x, shrunk_y = width / color_rgb.shape[1], height / color_rgb.shape[0]
        color_rgb = np.asarray(cv2.resize(color_rgb, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    else:
        shrunk_x = shrunk_y = 1.0
    step_x, step_y = shrunk_x / scale, shrunk_y / scale
    to_image = np.array(
        [[step_x, 0, 0.5 * step_x + left * shrunk_x - 0.5], [0, step_y, 0.5 * step_y + top * shrunk_y - 0.5]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size_wh = (size_hw[1], size_hw[0])
    window = cv2.warpAffine(color_rgb, to_image, size_wh, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(window, dtype=np.uint8)


def mirror(images: Images) -> Images:
    """Left and right exchanged, the principal point with them."""
    fx, fy, cx, cy = images.intrinsics
    return Images(
        np.ascontiguousarray(images.depth_m[:, ::-1]),
        np.ascontiguousarray(images.ids[:, ::-1]),
        np.array((fx, fy, images.depth_m.shape[1] - 1 - cx, cy), dtype=np.float32),
        images.class_ids,
        None if images.color_rgb is None else np.ascontiguousarray(images.color_rgb[:, ::-1]),
        None if images.behind_m is None else np.ascontiguousarray(images.behind_m[:, ::-1]),
    )


def _object_window(
    ids: NDArray[np.uint8], window_hw: tuple[float, float], rng: np.random.Generator
) -> tuple[float, float]:
    """Offset of a window of that size that looks at the objects, inside the image as far as it fits."""
    height, width = ids.shape
    window_h, window_w = window_hw
    rows, columns = np.nonzero((ids > 0) & (ids != IGNORE_ID))
    if len(rows):
        pick = rng.integers(len(rows))
        center_x, center_y = columns[pick], rows[pick]
    else:
        center_x, center_y = rng.uniform(0, width), rng.uniform(0, height)
    left = center_x - window_w * rng.uniform(0.25, 0.75)
    top = center_y - window_h * rng.uniform(0.25, 0.75)
    return float(np.clip(left, 0, max(width - window_w, 0))), float(np.clip(top, 0, max(height - window_h, 0)))


@dataclass(frozen=True)
class Labels:
    """The instances of a sample.

    Attributes:
        ids: (H, W) uint8: 0 background, 1..N instances, 255 ignored.
        former_ids: (N,) int64, what each was before.
        boxes_xyxy: (N, 4) float32.
        anchors_xy: (N, 2) float32, see `_anchor`.
    """

    ids: NDArray[np.uint8]
    former_ids: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    anchors_xy: NDArray[np.float32]


def relabel(
    ids: NDArray[np.uint8], depth_m: NDArray[np.float32], min_visible_px: int, min_measured_share: float
) -> Labels:
    """Instances numbered 1..N; small or unmeasured ones become 255, which stays ignored.

    Args:
        ids: (H, W), 0 = background.
        depth_m: (H, W), metres, 0 = no measurement.
        min_visible_px: an instance of fewer pixels is small.
        min_measured_share: one with depth at a smaller share of its pixels is unmeasured.
    """
    table = np.zeros(256, dtype=np.uint8)
    table[IGNORE_ID] = IGNORE_ID
    former_ids, boxes, anchors = [], [], []
    areas = np.bincount(ids.ravel(), minlength=256)
    measured = np.bincount(ids.ravel(), weights=(depth_m > 0).ravel(), minlength=256)
    for value in np.flatnonzero(areas[1:IGNORE_ID]) + 1:
        if areas[value] < min_visible_px or measured[value] < min_measured_share * areas[value]:
            table[value] = IGNORE_ID
            continue
        mask = (ids == value).astype(np.uint8)
        left, top, box_width, box_height = cv2.boundingRect(mask)
        column, row = _anchor(mask[top : top + box_height, left : left + box_width])
        former_ids.append(value)
        boxes.append((left, top, left + box_width, top + box_height))
        anchors.append((left + column + 0.5, top + row + 0.5))
        table[value] = len(boxes)
    return Labels(
        table[ids],
        np.array(former_ids, dtype=np.int64),
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(anchors, dtype=np.float32).reshape(-1, 2),
    )


_ANCHOR_DEPTH_PX = 6.0
"""An anchor need not lie farther inside its object than this."""


def _anchor(mask: NDArray[np.uint8]) -> tuple[int, int]:
    """Column and row of the pixel that stands for an object: well inside of what is visible, and near its centroid.

    Of the pixels at least half as far from the mask's edge as the innermost one, or 6 px, it is the one nearest to the
    centroid. The centroid itself may lie on something else that cuts the object in two.
    """
    inside_px = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(inside_px >= min(0.5 * float(inside_px.max()), _ANCHOR_DEPTH_PX))
    moments = cv2.moments(mask, binaryImage=True)
    column, row = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    nearest = int(np.argmin((columns - column) ** 2 + (rows - row) ** 2))
    return int(columns[nearest]), int(rows[nearest])


class FrameDataset(Dataset[Sample]):
    """Samples of a source's frames by (step, slot); the order of the frames is a new permutation each epoch.

    Args:
        source: of the frames.
        settings: of their augmentation.
        size_hw: of the network's grid.
        batch_size: slots of a step, of all processes.
        seed: of order, noise and augmentation.
        clean: give clean frames and their cameras, for `batched.camera.BatchCamera`, instead of what cameras see.

    Raises:
        ValueError: the source has no frames.
    """

    def __init__(
        self,
        source: FrameSource,
        settings: AugmentationSettings,
        size_hw: tuple[int, int],
        batch_size: int,
        seed: int,
        clean: bool = False,
    ) -> None:
        if len(source) == 0:
            raise ValueError("no frames to train on")
        self._source = source
        self._clean = clean_source(source) if clean else None
        self._grows = isinstance(source, GrowingSource)
        self._refreshed_s = -math.inf
        self._settings = settings
        self._size_hw = size_hw
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = -1
        self._order = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._source)

    def _frame_at(self, position: int) -> int:
        """Of a source that grows, any frame that it has now; of another one, the next of the epoch's permutation."""
        if self._grows and time.monotonic() > self._refreshed_s + _REFRESH_S:
            assert isinstance(self._source, GrowingSource)
            self._grows = self._source.refresh()
            self._refreshed_s = time.monotonic()
        if self._grows:
            return int(np.random.default_rng((self._seed, 2, position)).integers(len(self)))
        epoch, index = divmod(position, len(self))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self._seed, epoch)).permutation(len(self))
        return int(self._order[index])

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of a step and its slot in the batch."""
        step, slot = key
        rng = np.random.default_rng((self._seed, 1, step, slot))
        frame = self._frame_at(step * self._batch_size + slot)
        if self._clean is None:
            return to_sample(
                augment(self._source.images(frame, rng), self._settings, self._size_hw, rng), self._settings
            )
        images = on_grid(self._clean.clean_images(frame), self._settings, self._size_hw, rng)
        sample = to_sample(images, replace(self._settings, min_measured_share=0.0))
        behind_m = np.zeros_like(images.depth_m) if images.behind_m is None else images.behind_m
        return replace(
            sample,
            behind_m=torch.from_numpy(behind_m.astype(np.float16)),
            camera=torch.tensor(camera_vector(SensorSettings.sample(rng)), dtype=torch.float32),
        )


def on_grid(
    images: Images, settings: AugmentationSettings, size_hw: tuple[int, int], rng: np.random.Generator
) -> Images:
    """A frame on the network's grid: mirrored, zoomed, shrunk."""
    if rng.random() < settings.flip_probability:
        images = mirror(images)
    height, width = images.depth_m.shape
    scale, offset_xy = min(size_hw[0] / height, size_hw[1] / width), (0.0, 0.0)
    if rng.random() < settings.crop_probability:
        scale *= rng.uniform(settings.crop_scale_min, settings.crop_scale_max)
        offset_xy = _object_window(images.ids, (size_hw[0] / scale, size_hw[1] / scale), rng)
    if scale != 1 or (height, width) != size_hw:
        images = resample_window(images, offset_xy, scale, size_hw)
    if rng.random() < settings.letterbox_probability:
        scale = rng.uniform(settings.letterbox_scale_min, settings.letterbox_scale_max)
        images = resample_window(images, (0.0, 0.0), scale, size_hw)
    return images


def augment(
    images: Images, settings: AugmentationSettings, size_hw: tuple[int, int], rng: np.random.Generator
) -> Images:
    """A frame on the network's grid, with a colour camera's faults, now and then without colour or depth."""
    images = on_grid(images, settings, size_hw, rng)
    if images.color_rgb is None:
        return images
    if images.depth_m.any() and rng.random() < settings.color_drop_probability:
        return replace(images, color_rgb=None)
    color = degrade_color(images.color_rgb, rng, PhotometricSettings())
    if rng.random() < settings.depth_drop_probability:
        return replace(images, color_rgb=color, depth_m=np.zeros_like(images.depth_m))
    return replace(images, color_rgb=color)


def to_sample(images: Images, settings: AugmentationSettings) -> Sample:
    """Tensors and targets of a frame on the network's grid."""
    min_measured_share = settings.min_measured_share if images.color_rgb is None else 0.0
    labels = relabel(images.ids, images.depth_m, settings.min_visible_px, min_measured_share)
    color = np.zeros((*labels.ids.shape, 3), np.uint8) if images.color_rgb is None else images.color_rgb
    return Sample(
        depth_m=torch.from_numpy(images.depth_m.astype(np.float32))[None],
        intrinsics=torch.from_numpy(images.intrinsics),
        ids=torch.from_numpy(labels.ids),
        boxes_xyxy=torch.from_numpy(labels.boxes_xyxy),
        anchors_xy=torch.from_numpy(labels.anchors_xy),
        class_ids=torch.from_numpy(images.class_ids[labels.former_ids - 1]),
        color_rgb=torch.from_numpy(np.ascontiguousarray(color.transpose(2, 0, 1))),
    )


def batch_keys(first_step: int, slots: range) -> Iterator[list[tuple[int, int]]]:
    """Keys of these slots of every batch from `first_step` on, without end."""
    step = first_step
    while True:
        yield [(step, slot) for slot in slots]
        step += 1


def collate(samples: list[Sample], rows: int = 1) -> Batch:
    """Samples to a batch, whose instances are padded to a multiple of `rows`, so that few shapes occur."""
    most = max(len(sample.boxes_xyxy) for sample in samples)
    padded = -(-most // rows) * rows

    def stacked(values: list[Tensor]) -> Tensor:
        return pad_sequence([F.pad(v, (0, 0) * (v.ndim - 1) + (0, padded - len(v))) for v in values], batch_first=True)

    behind_m = [sample.behind_m for sample in samples if sample.behind_m is not None]
    cameras = [sample.camera for sample in samples if sample.camera is not None]
    return Batch(
        depth_m=torch.stack([s.depth_m for s in samples]),
        intrinsics=torch.stack([s.intrinsics for s in samples]),
        ids=torch.stack([s.ids for s in samples]),
        boxes_xyxy=stacked([s.boxes_xyxy for s in samples]),
        anchors_xy=stacked([s.anchors_xy for s in samples]),
        class_ids=stacked([s.class_ids for s in samples]),
        color_rgb=torch.stack([s.color_rgb for s in samples]),
        behind_m=torch.stack(behind_m) if behind_m else None,
        cameras=torch.stack(cameras) if cameras else None,
    )
