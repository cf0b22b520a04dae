"""Frames of a scene store with sensor noise and augmentation, as the network sees them.

Every sample is a function of (seed, step, slot) alone: training resumes exactly, whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from instance_seg_ros.synthetic.store import SceneStore
from instance_seg_ros.training.photometric import PhotometricSettings, degrade_color

IGNORE_ID = 255

SensorModel = Callable[[NDArray[np.float32], NDArray[np.float32], np.random.Generator], NDArray[np.float32]]
"""(depth_m (H, W), intrinsics (4,), rng) -> depth_m (H, W) as a sensor would report it."""


@dataclass(frozen=True)
class AugmentationSettings:
    """Probabilities and ranges of the augmentation.

    Attributes:
        flip_probability: mirror left and right.
        crop_probability: zoom into a window.
        crop_scale_range: magnification of that window.
        letterbox_probability: shrink and pad, as for a camera of another aspect ratio.
        letterbox_scale_range: size of the image on the grid.
        min_visible_px: smaller objects are ignored, neither object nor background.
        min_measured_share: likewise, objects with a smaller share of measured depth, unless there is colour.
        color_drop_probability: the sample loses its colour.
        depth_drop_probability: a sample with colour loses its depth.
    """

    flip_probability: float = 0.5
    crop_probability: float = 0.4
    crop_scale_range: tuple[float, float] = (1.1, 2.0)
    letterbox_probability: float = 0.15
    letterbox_scale_range: tuple[float, float] = (0.7, 1.0)
    min_visible_px: int = 40
    min_measured_share: float = 0.15
    color_drop_probability: float = 0.25
    depth_drop_probability: float = 0.02


@dataclass(frozen=True)
class Sample:
    """One training image.

    Attributes:
        depth_m: (1, H, W) float32.
        intrinsics: (4,) float32.
        ids: (H, W) uint8: 0 background, 1..N instances, 255 ignored.
        boxes_xyxy: (N, 4) float32.
        centroids_xy: (N, 2) float32.
        color_rgb: (3, H, W) uint8, 0 throughout where there is none.
    """

    depth_m: Tensor
    intrinsics: Tensor
    ids: Tensor
    boxes_xyxy: Tensor
    centroids_xy: Tensor
    color_rgb: Tensor


@dataclass(frozen=True)
class Batch:
    """B samples: images stacked, instances listed."""

    depth_m: Tensor
    intrinsics: Tensor
    ids: Tensor
    boxes_xyxy: list[Tensor]
    centroids_xy: list[Tensor]
    color_rgb: Tensor


@dataclass(frozen=True)
class Images:
    """One frame on the network's grid before it becomes a sample.

    Attributes:
        depth_m: (H, W) float32, 0 = no measurement.
        ids: (H, W) uint8, 0 = background.
        intrinsics: (4,) float32 fx, fy, cx, cy.
        color_rgb: (H, W, 3) uint8, or None.
    """

    depth_m: NDArray[np.float32]
    ids: NDArray[np.uint8]
    intrinsics: NDArray[np.float32]
    color_rgb: NDArray[np.uint8] | None = None


def resample_window(images: Images, offset_xy: tuple[float, float], scale: float) -> Images:
    """A window on a grid of the same size; what lies outside the image is 0.

    Depth and ids take the nearest pixel, colour is interpolated.

    Args:
        images: the frame.
        offset_xy: left and top edge of the window in pixels.
        scale: magnification; below 1 the image shrinks and leaves padding.

    Returns:
        The window; its intrinsics describe the same rays.
    """
    height, width = images.depth_m.shape
    columns = np.floor((np.arange(width) + 0.5) / scale + offset_xy[0]).astype(np.int64)
    rows = np.floor((np.arange(height) + 0.5) / scale + offset_xy[1]).astype(np.int64)
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
        to_image = np.array(
            [[1 / scale, 0, 0.5 / scale + offset_xy[0] - 0.5], [0, 1 / scale, 0.5 / scale + offset_xy[1] - 0.5]]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        resampled = cv2.warpAffine(color, to_image, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        color = np.where(inside[..., None], resampled, np.uint8(0)).astype(np.uint8)
    return Images(
        np.where(inside, images.depth_m[index], np.float32(0)),
        np.where(inside, images.ids[index], np.uint8(0)),
        np.array(changed, dtype=np.float32),
        color,
    )


def mirror(images: Images) -> Images:
    """Left and right exchanged, the principal point with them."""
    fx, fy, cx, cy = images.intrinsics
    return Images(
        np.ascontiguousarray(images.depth_m[:, ::-1]),
        np.ascontiguousarray(images.ids[:, ::-1]),
        np.array((fx, fy, images.depth_m.shape[1] - 1 - cx, cy), dtype=np.float32),
        None if images.color_rgb is None else np.ascontiguousarray(images.color_rgb[:, ::-1]),
    )


def _object_window(ids: NDArray[np.uint8], scale: float, rng: np.random.Generator) -> tuple[float, float]:
    """Offset of a window of 1 / scale of the image that looks at the objects, wholly inside the image."""
    height, width = ids.shape
    window_w, window_h = width / scale, height / scale
    rows, columns = np.nonzero(ids)
    if len(rows):
        pick = rng.integers(len(rows))
        center_x, center_y = columns[pick], rows[pick]
    else:
        center_x, center_y = rng.uniform(0, width), rng.uniform(0, height)
    left = center_x - window_w * rng.uniform(0.25, 0.75)
    top = center_y - window_h * rng.uniform(0.25, 0.75)
    return float(np.clip(left, 0, width - window_w)), float(np.clip(top, 0, height - window_h))


def relabel(
    ids: NDArray[np.uint8], depth_m: NDArray[np.float32], min_visible_px: int, min_measured_share: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Instances numbered 1..N, with boxes (N, 4) xyxy and centroids (N, 2); small or unmeasured ones become 255."""
    table = np.zeros(256, dtype=np.uint8)
    boxes, centroids = [], []
    areas = np.bincount(ids.ravel(), minlength=256)
    measured = np.bincount(ids.ravel(), weights=(depth_m > 0).ravel(), minlength=256)
    for value in np.flatnonzero(areas[1:]) + 1:
        if areas[value] < min_visible_px or measured[value] < min_measured_share * areas[value]:
            table[value] = IGNORE_ID
            continue
        mask = (ids == value).astype(np.uint8)
        left, top, box_width, box_height = cv2.boundingRect(mask)
        moments = cv2.moments(mask[top : top + box_height, left : left + box_width], binaryImage=True)
        boxes.append((left, top, left + box_width, top + box_height))
        centroids.append((moments["m10"] / moments["m00"] + left + 0.5, moments["m01"] / moments["m00"] + top + 0.5))
        table[value] = len(boxes)
    return (
        table[ids],
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(centroids, dtype=np.float32).reshape(-1, 2),
    )


class SceneDataset(Dataset[Sample]):
    """Samples by (step, slot); the order of the frames is a new permutation each epoch."""

    def __init__(
        self,
        store: SceneStore,
        frames: NDArray[np.int64],
        sensor: SensorModel,
        settings: AugmentationSettings,
        batch_size: int,
        seed: int,
    ) -> None:
        if len(frames) == 0:
            raise ValueError("no frames to train on")
        self._store = store
        self._frames = frames
        self._sensor = sensor
        self._settings = settings
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = -1
        self._order = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._frames)

    def _frame_at(self, position: int) -> int:
        epoch, index = divmod(position, len(self._frames))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self._seed, epoch)).permutation(len(self._frames))
        return int(self._frames[self._order[index]])

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of a step and its slot in the batch."""
        step, slot = key
        frame = self._frame_at(step * self._batch_size + slot)
        rng = np.random.default_rng((self._seed, 1, step, slot))
        return self.augmented(frame, rng)

    def augmented(self, frame: int, rng: np.random.Generator) -> Sample:
        """A frame of the store with noise and augmentation drawn from `rng`."""
        settings, store = self._settings, self._store
        intrinsics = np.array(store.intrinsics[frame])
        color = None if store.color is None else np.array(store.color[frame])
        depth_m = self._sensor(store.depth_m(frame), intrinsics, rng)
        images = Images(depth_m, np.array(store.ids[frame]), intrinsics, color)
        return to_sample(augment(images, settings, rng), settings)


def augment(images: Images, settings: AugmentationSettings, rng: np.random.Generator) -> Images:
    """Mirroring, zooming, shrinking, a colour camera's faults, and now and then no colour or no depth at all."""
    if rng.random() < settings.flip_probability:
        images = mirror(images)
    if rng.random() < settings.crop_probability:
        scale = rng.uniform(*settings.crop_scale_range)
        images = resample_window(images, _object_window(images.ids, scale, rng), scale)
    if rng.random() < settings.letterbox_probability:
        images = resample_window(images, (0.0, 0.0), rng.uniform(*settings.letterbox_scale_range))
    if images.color_rgb is None:
        return images
    if rng.random() < settings.color_drop_probability:
        return replace(images, color_rgb=None)
    color = degrade_color(images.color_rgb, rng, PhotometricSettings())
    if rng.random() < settings.depth_drop_probability:
        return replace(images, color_rgb=color, depth_m=np.zeros_like(images.depth_m))
    return replace(images, color_rgb=color)


def to_sample(images: Images, settings: AugmentationSettings) -> Sample:
    """Tensors and targets of a frame."""
    min_measured_share = settings.min_measured_share if images.color_rgb is None else 0.0
    ids, boxes_xyxy, centroids_xy = relabel(images.ids, images.depth_m, settings.min_visible_px, min_measured_share)
    color = np.zeros((*ids.shape, 3), np.uint8) if images.color_rgb is None else images.color_rgb
    return Sample(
        depth_m=torch.from_numpy(images.depth_m.astype(np.float32))[None],
        intrinsics=torch.from_numpy(images.intrinsics),
        ids=torch.from_numpy(ids),
        boxes_xyxy=torch.from_numpy(boxes_xyxy),
        centroids_xy=torch.from_numpy(centroids_xy),
        color_rgb=torch.from_numpy(np.ascontiguousarray(color.transpose(2, 0, 1))),
    )


def batch_keys(first_step: int, batch_size: int) -> Iterator[list[tuple[int, int]]]:
    """Keys of every batch from `first_step` on, without end."""
    step = first_step
    while True:
        yield [(step, slot) for slot in range(batch_size)]
        step += 1


def collate(samples: list[Sample]) -> Batch:
    """Samples to a batch."""
    return Batch(
        depth_m=torch.stack([s.depth_m for s in samples]),
        intrinsics=torch.stack([s.intrinsics for s in samples]),
        ids=torch.stack([s.ids for s in samples]),
        boxes_xyxy=[s.boxes_xyxy for s in samples],
        centroids_xy=[s.centroids_xy for s in samples],
        color_rgb=torch.stack([s.color_rgb for s in samples]),
    )


def split_holdout(store: SceneStore, every: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames to train on and frames kept aside: the scenes whose number is a multiple of `every`."""
    held = store.scene_id[store.frames] % every == 0
    return store.frames[~held], store.frames[held]
