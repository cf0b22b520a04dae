"""COCO's three ways to write a mask, checked before they reach C++ code that trusts what it is given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from numpy.typing import NDArray

Rle = dict[str, Any]
"""COCO's compressed run-length encoding: {"size": [H, W], "counts": bytes}."""


def encode_segmentation(segmentation: Any, size_hw: tuple[int, int], left_out: list[str] | None = None) -> Rle:
    """A `segmentation` field as compressed runs.

    Of several polygons, those that are none are left out: annotation tools leave single points and lines behind.

    Args:
        segmentation: a list of polygons, each [x0, y0, x1, y1, ...]; or {"size": [H, W], "counts": ...} with the runs
            as a list (uncompressed) or as text (compressed).
        size_hw: height and width of the image.
        left_out: gets a line for each polygon that is left out.

    Raises:
        ValueError: naming what is wrong with it; also for a mask without a pixel.
    """
    height, width = size_hw
    if isinstance(segmentation, dict):
        runs = _checked_runs(segmentation, size_hw)
        rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    elif isinstance(segmentation, list):
        polygons, faults = [], []
        for polygon in segmentation:
            try:
                polygons.append(_checked_polygon(polygon, size_hw))
            except ValueError as error:
                faults.append(str(error))
        if not polygons:
            raise ValueError(faults[0] if faults else "it has no polygon")
        if left_out is not None:
            left_out += faults
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    else:
        raise ValueError(f"segmentation is {_kind(segmentation)}, neither polygons nor runs")
    if coco_mask.area(rle) == 0:
        raise ValueError("its mask covers no pixel")
    return rle


def encode_box(box_xywh: Any, size_hw: tuple[int, int]) -> Rle:
    """A `bbox` field, [x, y, width, height], as compressed runs.

    Raises:
        ValueError: it is no box with a pixel inside the image.
    """
    height, width = size_hw
    if not isinstance(box_xywh, list) or len(box_xywh) != 4 or not all(_is_number(value) for value in box_xywh):
        raise ValueError(f"bbox is {box_xywh!r}, not four numbers")
    x, y, box_width, box_height = box_xywh
    left, top = max(math.floor(x), 0), max(math.floor(y), 0)
    right, bottom = min(math.ceil(x + box_width), width), min(math.ceil(y + box_height), height)
    if left >= right or top >= bottom:
        raise ValueError("bbox covers no pixel")
    mask = np.zeros((height, width), dtype=np.uint8, order="F")
    mask[top:bottom, left:right] = 1
    return coco_mask.encode(mask)


def decode_mask(rle: Rle) -> NDArray[np.bool_]:
    """(H, W) bool of runs that `encode_segmentation` or `encode_box` returned."""
    return coco_mask.decode(rle).astype(bool)


def area_px(rle: Rle) -> int:
    """Number of pixels of a mask."""
    return int(coco_mask.area(rle))


def _checked_polygon(polygon: Any, size_hw: tuple[int, int]) -> list[float]:
    height, width = size_hw
    if not isinstance(polygon, list) or not all(_is_number(value) for value in polygon):
        raise ValueError("a polygon is no list of finite numbers")
    if len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(f"a polygon has {len(polygon)} numbers; it takes x and y of at least three points")
    # Far points would have the rasteriser walk along edges of any length.
    inside_x = all(-width <= x <= 2 * width for x in polygon[::2])
    inside_y = all(-height <= y <= 2 * height for y in polygon[1::2])
    if not (inside_x and inside_y):
        raise ValueError(f"a polygon lies far outside the {width}x{height} image")
    return [float(value) for value in polygon]


def _checked_runs(segmentation: dict[str, Any], size_hw: tuple[int, int]) -> list[int]:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != list(size_hw):
        raise ValueError(f"its runs are of size {size}, but the image has {list(size_hw)} (height, width)")
    if isinstance(counts, str):
        counts = _decompressed(counts)
    if not isinstance(counts, list) or not all(type(run) is int and run >= 0 for run in counts):
        raise ValueError("its runs are no whole numbers >= 0")
    if sum(counts) != size_hw[0] * size_hw[1]:
        raise ValueError(f"its runs cover {sum(counts)} of {size_hw[0] * size_hw[1]} pixels")
    return counts


def _decompressed(text: str) -> list[int]:
    """Run lengths of COCO's compressed counts.

    Each character carries 5 bits, least significant first, and a bit that says whether more follow; the last one's
    highest bit is the sign. From the fourth on, a run is the difference to the one two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(f"its compressed runs hold {character!r} where none can be")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its compressed runs are cut short")
    return runs


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _kind(value: Any) -> str:
    return "missing" if value is None else type(value).__name__
