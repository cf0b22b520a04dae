"""COCO-style mask average precision, class-agnostic, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class AveragePrecision:
    """Collects images; `result` evaluates them all."""

    _images: list[dict[str, Any]] = field(default_factory=list)
    _truth: list[dict[str, Any]] = field(default_factory=list)
    _predicted: list[dict[str, Any]] = field(default_factory=list)

    def add(self, truth: NDArray[np.bool_], predicted: NDArray[np.bool_], scores: NDArray[np.float32]) -> None:
        """One image: object masks (N, H, W), predicted masks (M, H, W) and their scores (M,)."""
        image_id = len(self._images) + 1
        self._images.append({"id": image_id, "height": truth.shape[1], "width": truth.shape[2]})
        for mask in truth:
            entry = _annotation(image_id, mask)
            entry.update(id=len(self._truth) + 1, iscrowd=0, area=int(mask.sum()))
            self._truth.append(entry)
        for mask, score in zip(predicted, scores, strict=True):
            self._predicted.append({**_annotation(image_id, mask), "score": float(score)})

    def result(self) -> dict[str, float]:
        """AP over IoU 0.5:0.95, AP at 0.5 and 0.75, and AR with 100 instances an image, each in [0, 1].

        Raises:
            ImportError: pycocotools is not installed.
        """
        from pycocotools.coco import COCO  # type: ignore[import-untyped]
        from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]

        names = {"ap": 0, "ap50": 1, "ap75": 2, "ar100": 8}
        if not self._truth:
            return dict.fromkeys(names, float("nan"))
        if not self._predicted:
            return dict.fromkeys(names, 0.0)
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                "info": {},
                "images": self._images,
                "annotations": self._truth,
                "categories": [{"id": 1, "name": "object"}],
            }
            truth.createIndex()
            evaluation = COCOeval(truth, truth.loadRes(self._predicted), "segm")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return {name: float(evaluation.stats[index]) for name, index in names.items()}


def _annotation(image_id: int, mask: NDArray[np.bool_]) -> dict[str, Any]:
    from pycocotools import mask as coco_mask  # type: ignore[import-untyped]

    return {
        "image_id": image_id,
        "category_id": 1,
        "segmentation": coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))),
    }
