"""One set of instances from several looks at an image: overlapping tiles and the whole, or two models.

What several looks find of one object becomes one instance. Each of its pixels is decided by the best look that covers
that pixel, so an object that a seam cuts is put together, and one that a tile sees finely keeps the fine outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.instances import NO_STUFF, Instances, boxes_of_masks
from instance_seg_ros.segmentation.postprocessing import MIN_KEPT_SHARE, Region

_SAME_OBJECT_IOU = 0.5
"""Of what two looks find of one class, in the part of the image that both cover."""


@dataclass(frozen=True, eq=False)
class Look:
    """Instances that were found in a part of the image.

    Attributes:
        region_xyxy: the part, in pixels of the image.
        instances: with masks of the part's size.
        level: a look of a lower one decides where both cover a pixel, such as a tile before the whole image.
    """

    region_xyxy: Region
    instances: Instances
    level: int = 0


@dataclass(frozen=True, eq=False)
class _Piece:
    """An instance of a look.

    Attributes:
        look: index of it.
        mask: of the look's region.
    """

    look: int
    region_xyxy: Region
    level: int
    mask: NDArray[np.bool_]
    score: float
    class_name: str


def tiles(size_wh: tuple[int, int], tile_width_px: int, overlap: float) -> list[Region]:
    """Tiles of one size and of the image's proportion that cover it; none where it is no wider than a tile.

    Args:
        size_wh: of the image.
        tile_width_px: of a tile.
        overlap: share of a tile's side that neighbours have in common, at least.
    """
    width, height = size_wh
    if tile_width_px <= 0 or tile_width_px >= width:
        return []
    tile_height_px = max(1, round(tile_width_px * height / width))
    lefts, tops = _begins(width, tile_width_px, overlap), _begins(height, tile_height_px, overlap)
    return [(x, y, x + tile_width_px, y + tile_height_px) for y in tops for x in lefts]


def _begins(length: int, tile: int, overlap: float) -> list[int]:
    step = max(1, int(tile * (1 - overlap)))
    count = 1 + -(-max(length - tile, 0) // step)
    return np.linspace(0, length - tile, count).round().astype(int).tolist()


def cropped(frame: RgbdFrame, region_xyxy: Region) -> RgbdFrame:
    """The part of a frame, as a camera with the same pose would see it."""
    x0, y0, x1, y1 = region_xyxy
    camera = frame.intrinsics
    return RgbdFrame(
        None if frame.color_rgb is None else np.ascontiguousarray(frame.color_rgb[y0:y1, x0:x1]),
        np.ascontiguousarray(frame.depth_m[y0:y1, x0:x1]),
        Intrinsics(x1 - x0, y1 - y0, camera.fx, camera.fy, camera.cx - x0, camera.cy - y0),
        stamp_ns=frame.stamp_ns,
        frame_id=frame.frame_id,
    )


def combined(
    looks: Sequence[Look],
    size_wh: tuple[int, int],
    class_names: tuple[str, ...],
    min_mask_pixels: int,
    max_instances: int,
    overlapping: bool = False,
) -> Instances:
    """The instances of the whole image, best score first.

    Args:
        looks: of parts of the image; their classes are compared by name.
        size_wh: of the image.
        class_names: of the result; with all that the looks have.
        min_mask_pixels: instances with fewer pixels are left out.
        max_instances: the best ones are kept.
        overlapping: every mask keeps what it claims; otherwise a pixel goes to the instance with the higher score, and
            an instance that loses most of its pixels is a duplicate and is left out.
    """
    width, height = size_wh
    pieces = [
        _Piece(index, look.region_xyxy, look.level, mask, float(score), name)
        for index, look in enumerate(looks)
        for mask, score, name in zip(look.instances.masks, look.instances.scores, look.instances.names(), strict=True)
    ]
    objects = sorted(_objects(pieces), key=lambda members: -max(piece.score for piece in members))
    free = np.ones((height, width), dtype=bool)
    masks, scores, class_ids = [], [], []
    for members in objects:
        claimed = _composed(members, (height, width))
        own = claimed & free
        pixels = np.count_nonzero(own)
        if pixels >= min_mask_pixels and pixels > MIN_KEPT_SHARE * np.count_nonzero(claimed):
            if not overlapping:
                free &= ~own
            masks.append(own)
            scores.append(max(piece.score for piece in members))
            class_ids.append(class_names.index(members[0].class_name))
        if len(masks) == max_instances:
            break
    stacked = np.stack(masks) if masks else np.zeros((0, height, width), dtype=bool)
    return Instances(
        stacked,
        boxes_of_masks(stacked),
        np.array(scores, dtype=np.float32),
        np.array(class_ids, dtype=np.int64),
        class_names,
        _joined_stuff(looks, class_names, stacked),
        color_moved_px=max(  # of the models that see the whole image, some may not see both
            (look.instances.color_moved_px for look in looks if look.level == max(own.level for own in looks)),
            key=lambda moved_px: np.hypot(*moved_px),
        ),
    )


def _joined_stuff(
    looks: Sequence[Look], class_names: tuple[str, ...], masks: NDArray[np.bool_]
) -> NDArray[np.int32] | None:
    """What is stuff beside the instances: a wall is known by what is around it, so that the largest look decides."""
    if all(look.instances.stuff is None for look in looks):
        return None
    joined = np.full(masks.shape[1:], NO_STUFF, dtype=np.int32)
    for look in sorted(looks, key=lambda look: -look.level):
        if look.instances.stuff is not None:
            ids = np.array([*map(class_names.index, look.instances.class_names), NO_STUFF], dtype=np.int32)
            x0, y0, x1, y1 = look.region_xyxy
            part = joined[y0:y1, x0:x1]
            np.copyto(part, ids[look.instances.stuff], where=part == NO_STUFF)
    joined[masks.any(axis=0)] = NO_STUFF
    return joined


def _objects(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """The pieces of each object: those that agree most are joined first, and no two of one look."""
    pairs = [
        (agreement, first, second)
        for second in range(len(pieces))
        for first in range(second)
        if (agreement := _agreement(pieces[first], pieces[second])) >= _SAME_OBJECT_IOU
    ]
    groups = [[index] for index in range(len(pieces))]
    group_of = list(range(len(pieces)))
    for _, first, second in sorted(pairs, reverse=True):
        one, other = group_of[first], group_of[second]
        looks = [pieces[index].look for index in groups[one] + groups[other]]
        if one != other and len(set(looks)) == len(looks):
            for index in groups[other]:
                group_of[index] = one
            groups[one] += groups[other]
            groups[other] = []
    return [[pieces[index] for index in group] for group in groups if group]


def _agreement(first: _Piece, second: _Piece) -> float:
    """The IoU of two pieces where both looks cover the image; 0 where they cannot be one object."""
    if first.look == second.look or first.class_name != second.class_name:
        return 0.0
    x0, y0 = (max(one, other) for one, other in zip(first.region_xyxy[:2], second.region_xyxy[:2], strict=True))
    x1, y1 = (min(one, other) for one, other in zip(first.region_xyxy[2:], second.region_xyxy[2:], strict=True))
    if x1 <= x0 or y1 <= y0:
        return 0.0
    one, other = (
        piece.mask[
            y0 - piece.region_xyxy[1] : y1 - piece.region_xyxy[1], x0 - piece.region_xyxy[0] : x1 - piece.region_xyxy[0]
        ]
        for piece in (first, second)
    )
    either = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / either if either else 0.0


def _composed(members: Sequence[_Piece], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of an object in the whole image: each pixel as the best look says that covers it."""
    mask = np.zeros(size_hw, dtype=bool)
    for piece in sorted(members, key=lambda piece: (-piece.level, piece.score)):  # the best last
        x0, y0, x1, y1 = piece.region_xyxy
        mask[y0:y1, x0:x1] = piece.mask
    return mask
