"""What the objects of a frame are like: how large, thin, far away and hidden they are, and in how many pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.masks import Masks

# What hides an object is nearer by more than this, so that the table in front of a foot hides nothing.
_STEP_M = 0.01
_STEP_SHARE = 0.02
_PIECE_SHARE = 0.05


@dataclass(frozen=True)
class ObjectFacts:
    """One object.

    Attributes:
        image_share: share of the image that it covers.
        distance_m: median depth, NaN where none of it is measured.
        occlusion: see `occlusion`; NaN where the depth is not exact enough.
        pieces: visible pieces of at least a twentieth of it each.
        thickness_share: width of the thickest part of it, as a share of the image's width.
        traits: of a generated scene, a sum of store.TRAITS; else 0.
    """

    image_share: float
    distance_m: float
    occlusion: float
    pieces: int
    thickness_share: float
    traits: int = 0


def object_facts(
    truth: Masks,
    depth_m: NDArray[np.float32],
    clean_depth_m: NDArray[np.float32] | None,
    traits: Sequence[int] = (),
) -> tuple[ObjectFacts, ...]:
    """Facts of each object from masks (N, H, W), measured depth (H, W) and, where known, clean depth and traits."""
    best_m = depth_m if clean_depth_m is None else clean_depth_m
    nan = float("nan")
    facts = []
    for mask, own in zip(truth, traits or [0] * len(truth), strict=True):
        depths_m = best_m[mask & (best_m > 0)]
        hidden = nan if clean_depth_m is None else occlusion(mask, clean_depth_m)
        facts.append(
            ObjectFacts(
                image_share=float(mask.mean()),
                distance_m=float(np.median(depths_m)) if len(depths_m) else nan,
                occlusion=hidden,
                pieces=_pieces(mask),
                thickness_share=_thickness_px(mask) / mask.shape[1],
                traits=own,
            )
        )
    return tuple(facts)


def _pieces(mask: NDArray[np.bool_]) -> int:
    """Connected pieces of a mask (H, W) that hold at least a twentieth of its pixels."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:count, cv2.CC_STAT_AREA]
    return int((areas >= _PIECE_SHARE * mask.sum()).sum())


def _thickness_px(mask: NDArray[np.bool_]) -> float:
    """Diameter of the largest circle inside a mask (H, W)."""
    inside_px = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # The distance is that to the middle of the first pixel outside.
    return max(2 * float(inside_px.max()) - 1, 0.0)


def occlusion(mask: NDArray[np.bool_], clean_depth_m: NDArray[np.float32]) -> float:
    """Share of the pixels of an object's outline beside which something else is nearer, 0 to 1.

    Nearer is more than 1 cm and more than 2 % of the depth. It stands in for the hidden share of the object, which
    would need a scene with the objects one by one; what the image's border cuts off is not hidden.

    Args:
        mask: (H, W) bool.
        clean_depth_m: (H, W) float32 metres without noise, 0 = nothing there.
    """
    outline = _inner_outline(mask)
    if not outline.any():
        return 0.0
    others_m = np.where(mask | (clean_depth_m <= 0), np.float32(np.inf), clean_depth_m)
    nearest_m = cv2.erode(others_m, np.ones((3, 3), np.uint8))
    own_m = clean_depth_m[outline]
    return float((own_m - nearest_m[outline] > np.maximum(_STEP_M, _STEP_SHARE * own_m)).mean())


def _inner_outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels (H, W) of a mask beside a pixel outside it, also around holes; the image's border is no outline."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return mask & (cv2.erode(mask.astype(np.uint8), cross) == 0)
