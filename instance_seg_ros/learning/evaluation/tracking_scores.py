"""What a tracker's ids are worth against the truth: HOTA, IDF1 and switches, counted by trackeval, and swaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.masks import mask_ious
from instance_seg_ros.learning.evaluation.tracking_scenes import HAND

MIN_VISIBLE_PX = 30
"""An object of which less is in the image is not asked for."""
_FOUND_IOU = 0.5


@dataclass(frozen=True, eq=False)
class FrameIds:
    """The ids of one frame.

    Attributes:
        true_ids: (T,) int64, of the objects in view.
        track_ids: (P,) int64, of the instances; those that mostly lie on a hand are left out.
        overlaps: (T, P) IoU of the masks.
    """

    true_ids: NDArray[np.int64]
    track_ids: NDArray[np.int64]
    overlaps: NDArray[np.float64]

    def found(self) -> FrameIds:
        """Only the objects that an instance shows, overlapping by more than half, and these instances, as if exact."""
        true, instance = np.nonzero(self.overlaps > _FOUND_IOU)
        # Neither masks nor objects share pixels, so that above one half at most one pair is possible for each.
        return FrameIds(self.true_ids[true], self.track_ids[instance], np.eye(len(true)))


@dataclass(frozen=True)
class TrackingScore:
    """Of the tracks of some sequences.

    Attributes:
        object_frames: objects in view, counted frame by frame.
        found: share of them that an instance shows.
        hota, idf1: of the ids of the objects found, 1 where no id is ever wrong.
        switches: among them, how often an object's id differs from the one before.
        swaps: among them, how often an id is of another object than the one that it was of before, whether that counts
            as a switch or the other object had none before: a robot that holds to the id takes the wrong object.
        whole_hota: with the segmentation's part: what is not found, phantoms and inexact masks count, too.
    """

    object_frames: int
    found: float
    hota: float
    idf1: float
    switches: int
    swaps: int
    whole_hota: float

    @property
    def switches_per_1000(self) -> float:
        """Switches for 1,000 object-frames in which the object was found."""
        return self._per_1000(self.switches)

    @property
    def swaps_per_1000(self) -> float:
        """Swaps likewise."""
        return self._per_1000(self.swaps)

    def _per_1000(self, count: int) -> float:
        return 1000 * count / max(self.found * self.object_frames, 1)


def frame_ids(true: NDArray[np.uint8], instances: Instances, track_ids: Sequence[int]) -> FrameIds:
    """The ids of a frame, given its true ids (H, W)."""
    pixels = np.bincount(true.reshape(-1), minlength=256)
    pixels[[0, HAND]] = 0
    true_ids = np.flatnonzero(pixels >= MIN_VISIBLE_PX)
    on_hand = [np.count_nonzero(true[mask] == HAND) > np.count_nonzero(mask) / 2 for mask in instances.masks]
    others = np.flatnonzero(~np.array(on_hand, dtype=bool))
    overlaps = mask_ious(true[None] == true_ids[:, None, None], instances.masks[others])
    return FrameIds(true_ids, np.array(track_ids, dtype=np.int64)[others], overlaps)


def tracking_score(sequences: Sequence[Sequence[FrameIds]]) -> TrackingScore:
    """Of all sequences together.

    Raises:
        ImportError: trackeval is not installed.
    """
    from trackeval.metrics import CLEAR, HOTA, Identity

    quiet = {"PRINT_CONFIG": False}
    found_ids = [[frame.found() for frame in sequence] for sequence in sequences]
    found = [_for_trackeval(frames) for frames in found_ids]
    whole = [_for_trackeval(sequence) for sequence in sequences]
    hota, identity, clear = (_combined(metric, found) for metric in (HOTA(), Identity(dict(quiet)), CLEAR(quiet)))
    object_frames = sum(data["num_gt_dets"] for data in whole)
    return TrackingScore(
        object_frames,
        sum(data["num_gt_dets"] for data in found) / max(object_frames, 1),
        float(np.mean(hota["HOTA"])),
        float(identity["IDF1"]),
        int(clear["IDSW"]),
        sum(_swaps(frames) for frames in found_ids),
        float(np.mean(_combined(HOTA(), whole)["HOTA"])),
    )


def _swaps(frames: Sequence[FrameIds]) -> int:
    """How often an id goes to another object, in frames that hold only what is found, in the order of its instances."""
    object_of: dict[int, int] = {}
    swaps = 0
    for frame in frames:
        for track_id, true_id in zip(frame.track_ids.tolist(), frame.true_ids.tolist(), strict=True):
            swaps += object_of.get(track_id, true_id) != true_id
            object_of[track_id] = true_id
    return swaps


def _combined(metric: Any, sequences: Sequence[dict[str, Any]]) -> dict[str, Any]:
    results = {str(index): metric.eval_sequence(data) for index, data in enumerate(sequences)}
    combined: dict[str, Any] = metric.combine_sequences(results)
    return combined


def _for_trackeval(frames: Iterable[FrameIds]) -> dict[str, Any]:
    """A sequence as trackeval takes it: ids counted from 0."""
    frames = list(frames)
    data: dict[str, Any] = {"num_timesteps": len(frames), "similarity_scores": [frame.overlaps for frame in frames]}
    for name, ids in (("gt", [frame.true_ids for frame in frames]), ("tracker", [frame.track_ids for frame in frames])):
        known, counted = np.unique(np.concatenate([*ids, np.zeros(0, dtype=np.int64)]), return_inverse=True)
        ends = np.cumsum([len(own) for own in ids])
        data[f"{name}_ids"] = np.split(counted, ends[:-1])
        data[f"num_{name}_ids"], data[f"num_{name}_dets"] = len(known), len(counted)
    return data
