"""Print how long it takes, on one core, to read 100 candidates of each family of models at 640x480.

    python scripts/time_families.py [--rounds 50]

The outputs are made up and have the sizes of the published models. "read" is decoding and suppression; "instances" is
what comes after it, for every model: resampling the masks of the best 50, and deciding about pixels that several claim.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from instance_seg_ros.segmentation.families.decoding import output_of_masks
from instance_seg_ros.segmentation.families.family import Family, Reading
from instance_seg_ros.segmentation.families.image_input import ImageInput
from instance_seg_ros.segmentation.families.mask_queries import EOMT
from instance_seg_ros.segmentation.families.registry import FAMILIES
from instance_seg_ros.segmentation.families.torchvision_rcnn import TORCHVISION_MASK_RCNN
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, to_instances

CAMERA_WH = (640, 480)
CANDIDATES = 100
OF_AN_ENGINE = "torchvision-mask-rcnn, of an engine"
NETWORK_WH = {
    "yolo-seg": (640, 640),
    "yolo-seg-end2end": (640, 640),
    "rf-detr-seg": (432, 432),
    "rtmdet-ins": (640, 640),
    "solov2": (640, 480),
    "torchvision-mask-rcnn": (640, 480),
    "mask2former": (384, 384),
    "maskformer": (640, 480),
    "detr": (640, 480),
    "yolact": (550, 550),
    "eomt": (640, 640),
    OF_AN_ENGINE: (640, 480),
}
"""OneFormer is read as MaskFormer."""
SAM_WH, SAM_CELLS = (1024, 1024), 4
CLASSES, PROTOTYPES = 80, 32

Arrays = Mapping[str, NDArray]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50, help="runs of which the median counts (default: %(default)s)")
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    rows = []
    families = {**FAMILIES, EOMT.name: EOMT, OF_AN_ENGINE: TORCHVISION_MASK_RCNN}
    for name, family in families.items():
        reading = Reading(family.image.placement(CAMERA_WH, NETWORK_WH[name]), CLASSES + 11, family.nms_iou)
        outputs = outputs_of(name, NETWORK_WH[name])
        found = family.decode(outputs, reading)
        read_ms = median_ms(lambda f=family, o=outputs, r=reading: f.decode(o, r), rounds)  # type: ignore[misc]
        instances_ms = median_ms(lambda f=family, o=found: instances_of(f, o), rounds)  # type: ignore[misc]
        rows.append((name, len(found.scores), read_ms, instances_ms))
    rows.append(prompted_row(rounds))
    print(tabulate(rows, headers=("family", "rows", "read, ms", "instances, ms"), floatfmt=".1f"))


def prompted_row(rounds: int) -> tuple[str, int, float, float]:
    """The row of the SAM models: 100 prompts, the best mask of each at hand."""
    placement = ImageInput(size_wh=None, resize="fit").placement(CAMERA_WH, SAM_WH)
    rng = np.random.default_rng(0)
    centers = rng.uniform((70, 70), np.array(placement.inner_wh) - 70, (CANDIDATES, 2))
    masks = _discs(centers, rng.uniform(24, 64, CANDIDATES), SAM_WH, SAM_CELLS) * 18 - 9
    scores = np.linspace(0.95, 0.3, CANDIDATES).astype(np.float32)
    found = output_of_masks(masks, scores, placement)
    read_ms = median_ms(lambda: output_of_masks(masks, scores, placement), rounds)
    instances_ms = median_ms(lambda: to_instances(found, CAMERA_WH, ("object",), 0.05, 0.0, 50, 60), rounds)
    return "sam", len(found.scores), read_ms, instances_ms


def median_ms(task: Callable[[], object], rounds: int) -> float:
    """The median CPU time of a task."""
    times_ms = []
    for _ in range(rounds):
        start_s = time.process_time()
        task()
        times_ms.append(1000 * (time.process_time() - start_s))
    return statistics.median(times_ms)


def instances_of(family: Family, found: NetworkOutput) -> object:
    """What the segmenter makes of it with the default settings."""
    names = tuple(map(str, range(CLASSES + 11)))
    return to_instances(found, CAMERA_WH, names, 0.05, family.mask_threshold, 50, 60)


def outputs_of(name: str, network_wh: tuple[int, int]) -> Arrays:
    """What a network says of 100 discs, 30 to 80 pixels across."""
    rng = np.random.default_rng(0)
    centers = rng.uniform((40, 40), np.array(network_wh) - 40, (CANDIDATES, 2))
    radii = rng.uniform(15, 40, CANDIDATES)
    boxes = np.concatenate([centers - radii[:, None], centers + radii[:, None]], axis=1).astype(np.float32)
    scores = np.linspace(0.95, 0.3, CANDIDATES).astype(np.float32)
    class_ids = rng.integers(0, CLASSES, CANDIDATES)
    relative = np.concatenate([centers, np.stack([radii, radii], axis=1) * 2], axis=1) / np.tile(network_wh, 2)
    if name.startswith("yolo-"):
        return _yolo(name, network_wh, boxes, scores, class_ids)
    if name == "yolact":
        return _yolact(boxes, scores, class_ids)
    whole = name in ("rtmdet-ins", "solov2", "torchvision-mask-rcnn")
    masks = _discs(centers, radii, network_wh, 1 if whole else 4)
    if name == OF_AN_ENGINE:
        cells = _discs(np.full((CANDIDATES, 2), 14.0), np.full(CANDIDATES, 14.0), (28, 28), 1)
        return {"boxes": boxes, "labels": class_ids, "scores": scores, "masks": cells[:, None]}
    if name == "torchvision-mask-rcnn":
        return {"boxes": boxes, "labels": class_ids, "scores": scores, "masks": masks[:, None]}
    if whole:
        detections = np.column_stack([boxes, scores]).astype(np.float32)
        return {"detections": detections[None], "labels": class_ids[None], "masks": masks[None]}
    logits = np.full((CANDIDATES, CLASSES + (11 if name == "rf-detr-seg" else 1)), -9.0, dtype=np.float32)
    logits[np.arange(CANDIDATES), class_ids] = 3
    return {"logits": logits[None], "boxes": relative[None].astype(np.float32), "masks": masks[None] * 18 - 9}


def _discs(centers: NDArray, radii: NDArray, network_wh: tuple[int, int], stride: int) -> NDArray[np.float32]:
    """Masks (100, h, w) of probabilities, 1 inside and 0 outside."""
    y, x = (np.indices((network_wh[1] // stride, network_wh[0] // stride)) + 0.5) * stride
    masks = [np.hypot(x - center[0], y - center[1]) < radius for center, radius in zip(centers, radii, strict=True)]
    return np.stack(masks).astype(np.float32)


def _prototypes(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(PROTOTYPES, height, width)).astype(np.float32)


def _yolo(name: str, network_wh: tuple[int, int], boxes: NDArray, scores: NDArray, class_ids: NDArray) -> Arrays:
    rng = np.random.default_rng(2)
    coefficients = rng.normal(size=(CANDIDATES, PROTOTYPES))
    prototypes = _prototypes(network_wh[1] // 4, network_wh[0] // 4)[None]
    if name == "yolo-seg-end2end":
        rows = np.zeros((300, 6 + PROTOTYPES), dtype=np.float32)
        rows[:CANDIDATES] = np.column_stack([boxes, scores, class_ids, coefficients])
        return {"detections": rows[None], "prototypes": prototypes}
    columns = np.zeros((4 + CLASSES + PROTOTYPES, 8400), dtype=np.float32)
    places = rng.permutation(8400)[:CANDIDATES]
    columns[:2, places], columns[2:4, places] = (boxes[:, :2] + boxes[:, 2:]).T / 2, (boxes[:, 2:] - boxes[:, :2]).T
    columns[4 + class_ids, places] = scores
    columns[4 + CLASSES :, places] = coefficients.T
    return {"detections": columns[None], "prototypes": prototypes}


def _yolact(boxes: NDArray, scores: NDArray, class_ids: NDArray) -> Arrays:
    rng = np.random.default_rng(3)
    total = 3 * sum(side * side for side in (69, 35, 18, 9, 5))
    classes = np.zeros((total, 1 + CLASSES), dtype=np.float32)
    classes[:, 0] = 1
    places = rng.permutation(3 * 69 * 69)[:CANDIDATES]
    classes[places, 0], classes[places, 1 + class_ids] = 1 - scores, scores
    return {
        "regressions": rng.normal(0, 2, (1, total, 4)).astype(np.float32),
        "classes": classes[None],
        "coefficients": rng.normal(size=(1, total, PROTOTYPES)).astype(np.float32),
        "prototypes": _prototypes(138, 138).transpose(1, 2, 0)[None],
    }


if __name__ == "__main__":
    main()
