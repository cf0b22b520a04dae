"""Objects that are asked for: at points, in rectangles and by words; the models that answer, and what they need.

A promptable model such as SAM (Kirillov et al., *Segment Anything*, ICCV 2023) gives the mask at a point or in a
rectangle. A detector that takes words gives rectangles for them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation.families.decoding import suppressed
from instance_seg_ros.segmentation.model_file import ModelError, ModelInfo, joined_info
from instance_seg_ros.segmentation.model_location import located
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, to_instances

OBJECT = "object"
"""The class of what was asked for without a word."""
MIN_SCORE = 0.001
"""A promptable model answers every prompt, however unsure it is."""

_BETWEEN_PHRASES = re.compile(r",|\.(?!\d)")
_TEXT_NMS_IOU = 0.7
_EXTRA = "instance_seg_ros[transformers]"

Box = tuple[int, int, int, int]
"""Pixels from (x0, y0) to before (x1, y1)."""


@dataclass(frozen=True)
class Prompts:
    """What is asked for in an image; each point, rectangle and phrase by itself.

    Attributes:
        points_xy: pixels, (0, 0) the centre of the top left one.
        boxes_xyxy: rectangles.
        phrases: words, such as "red mug"; any number of objects for each.
    """

    points_xy: tuple[tuple[float, float], ...] = ()
    boxes_xyxy: tuple[Box, ...] = ()
    phrases: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.points_xy or self.boxes_xyxy or self.phrases)


def phrases_of(text: str) -> tuple[str, ...]:
    """The phrases of a text, which commas and full stops separate: "red mug, 0.5 l bottle" has two."""
    phrases = (" ".join(phrase.split()).lower() for phrase in _BETWEEN_PHRASES.split(text))
    return tuple(dict.fromkeys(phrase for phrase in phrases if phrase))


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found for phrases.

    Attributes:
        boxes_xyxy: (K, 4) float32, camera pixels.
        scores: (K,) float32 in [0, 1].
        phrase_ids: (K,) int64, index of the phrase.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    phrase_ids: NDArray[np.int64]

    def best(self, score_threshold: float, most: int) -> Detections:
        """At most so many of the threshold and more, best first; of nearly the same rectangles one, for any phrase."""
        rows = np.argsort(-self.scores, kind="stable")
        rows = rows[self.scores[rows] >= score_threshold]
        rows = rows[suppressed(self.boxes_xyxy[rows], np.zeros(len(rows), np.int64), _TEXT_NMS_IOU)][:most]
        return Detections(self.boxes_xyxy[rows], self.scores[rows], self.phrase_ids[rows])


class PromptNetwork(Protocol):
    """A promptable network. It looks at an image once, however many prompts follow; for one caller at a time."""

    info: ModelInfo

    @property
    def backend(self) -> str:
        """What runs it, and where."""

    def __call__(
        self, color_rgb: NDArray[np.uint8], points_xy: NDArray[np.float32], boxes_xyxy: NDArray[np.float32]
    ) -> NetworkOutput:
        """The mask for each prompt.

        Args:
            color_rgb: (H, W, 3).
            points_xy: (N, 2) pixels, (0, 0) the centre of the top left one.
            boxes_xyxy: (M, 4) pixels.

        Returns:
            N + M rows in the order of the prompts, points first, all of class 0; the score is the mask's quality as the
            network sees it.
        """


class TextDetector(Protocol):
    """A network that finds rectangles for words. For one caller at a time."""

    info: ModelInfo

    @property
    def backend(self) -> str:
        """What runs it, and where."""

    def __call__(self, color_rgb: NDArray[np.uint8], phrases: Sequence[str]) -> Detections:
        """The rectangles for each phrase in an image (H, W, 3), in any order, whatever their scores."""


@dataclass(frozen=True)
class PromptModels:
    """The models that answer prompts; None for what no model answers.

    Attributes:
        masks: answers points and rectangles.
        words: answers phrases.
        settings: of the segmentation.
    """

    masks: PromptNetwork | None = None
    words: TextDetector | None = None
    settings: SegmentationSettings = SegmentationSettings()  # noqa: RUF009 - immutable

    def taken(self, prompts: Prompts) -> Prompts:
        """What of the prompts is answered by cutting objects out; the rest selects among those that were found."""
        return Prompts(
            prompts.points_xy if self.masks else (), prompts.boxes_xyxy, prompts.phrases if self.words else ()
        )

    def info(self, prompts: Prompts) -> ModelInfo | None:
        """Of the models that answer these prompts, as one; None where the depth does."""
        used = [self.words] if self.words is not None and prompts.phrases else []
        infos = [model.info for model in (*used, self.masks) if model is not None]
        return joined_info(infos) if infos else None

    def detected(self, frame: RgbdFrame, phrases: Sequence[str]) -> Detections:
        """The rectangles for phrases.

        Raises:
            ModelError: no model answers phrases, or the camera has no colour.
        """
        if not phrases:
            none = np.zeros(0, np.int64)
            return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), none)
        if self.words is None:
            raise ModelError("words are answered by a model that takes them; set segmentation.text_model_path")
        settings = self.settings
        threshold = settings.text_score_threshold
        threshold = self.words.info.score_threshold if threshold < 0 else threshold
        return self.words(_color_of(frame, self.words.info), phrases).best(threshold, settings.max_instances)

    def segmented(self, frame: RgbdFrame, prompts: Prompts, detections: Detections) -> Instances:
        """The objects at points, in rectangles and in those that were found for phrases, best score first.

        Where two prompts mean the same object, the better one has it.

        Args:
            frame: of the camera.
            prompts: whose phrases are the classes 1 and up; 0 is `OBJECT`.
            detections: what was found for its phrases; their scores stay what they are.

        Raises:
            ModelError: no model answers points, or the camera has no colour.
        """
        if self.masks is None:
            raise ModelError("points are answered by a promptable model; set segmentation.prompt_model_path")
        width, height = frame.intrinsics.width, frame.intrinsics.height
        points_xy = _points_inside(prompts.points_xy, (width, height))
        boxes_xyxy = np.concatenate([_boxes_inside(prompts.boxes_xyxy, (width, height)), detections.boxes_xyxy])
        names, found = (OBJECT, *prompts.phrases), len(detections.scores)
        own = len(points_xy) + len(boxes_xyxy) - found
        if own + found == 0:
            return Instances.empty(height, width, names)
        output = self.masks(_color_of(frame, self.masks.info), points_xy, boxes_xyxy)
        output = dataclasses.replace(
            output,
            scores=np.concatenate([np.clip(output.scores[:own], MIN_SCORE, 1), detections.scores]),
            class_ids=np.concatenate([np.zeros(own, np.int64), 1 + detections.phrase_ids]),
        )
        return to_instances(
            output,
            (width, height),
            names,
            score_threshold=0.0,
            mask_threshold=self.masks.info.mask_threshold,
            max_instances=own + found,
            min_mask_pixels=self.settings.min_mask_pixels,
        )


def _points_inside(points_xy: Sequence[tuple[float, float]], size_wh: tuple[int, int]) -> NDArray[np.float32]:
    """The points (N, 2) that lie in the image; others, and what is no number, mean nothing."""
    points = np.array(points_xy, dtype=np.float32).reshape(-1, 2)
    return points[((points >= -0.5) & (points < np.array(size_wh) - 0.5)).all(axis=1)]  # False for NaN too


def _boxes_inside(boxes_xyxy: Sequence[Box], size_wh: tuple[int, int]) -> NDArray[np.float32]:
    """The parts (N, 4) of rectangles that lie in the image."""
    boxes = np.array(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    boxes = np.clip(boxes, 0, np.tile(size_wh, 2))
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)].astype(np.float32)


def _color_of(frame: RgbdFrame, info: ModelInfo) -> NDArray[np.uint8]:
    if frame.color_rgb is None:
        raise ModelError(f"the model {info.name} sees colour only, and this camera gives depth alone")
    return frame.color_rgb


def load_prompt_models(settings: SegmentationSettings) -> PromptModels:
    """The models that the settings name.

    Raises:
        ModelError: one is missing, damaged, of no known kind, or needs packages that are not installed.
    """
    if not settings.prompt_model_path and not settings.text_model_path:
        return PromptModels(settings=settings)
    try:
        from instance_seg_ros.segmentation.runtimes.prompt_network import SamNetwork
        from instance_seg_ros.segmentation.runtimes.text_detectors import load_text_detector
        from instance_seg_ros.segmentation.runtimes.transformers_folder import share_equal_weights
    except ImportError as error:
        raise ModelError(
            f"models for prompts take transformers and PyTorch ({error}): pip install '{_EXTRA}'"
        ) from error
    masks = words = None
    if settings.prompt_model_path:
        masks = SamNetwork(located(Path(settings.prompt_model_path)), settings.threads)
    if settings.text_model_path:
        words = load_text_detector(located(Path(settings.text_model_path)), settings.threads)
    if masks is not None and words is not None:
        share_equal_weights(masks.model, words.model)
    return PromptModels(masks, words, settings)
