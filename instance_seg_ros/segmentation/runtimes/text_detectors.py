"""Detectors of transformers that find rectangles for words: OWL-ViT, OWLv2, SAM 3, Grounding DINO, RT-DETR by classes.

Minderer et al., *OWL-ViT* (ECCV 2022) and *OWLv2* (NeurIPS 2023): an embedding for each phrase. Carion et al., *SAM 3*
(2025): asked one phrase after another, and whether there is such a thing at all. Liu et al., *Grounding
DINO* (ECCV 2024): all phrases as one text, whose tokens are scored. Zhao et al., *RT-DETR* (CVPR 2024): classes that it
was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from instance_seg_ros.segmentation.families.decoding import corners_of, sigmoid
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.postprocessing import require_finite
from instance_seg_ros.segmentation.prompts import Detections
from instance_seg_ros.segmentation.runtimes.transformers_folder import (
    WARM_UP_HW,
    ModelFolder,
    class_names_of,
    network_wh,
    runtime_on,
    size_of,
    tokenizer_of,
)

_SEPARATOR = "."
_NEVER, _SURE = -100.0, 1e-6
"""A logit of what was not asked for, and how near to 0 and 1 a probability may be to have a logit."""


@dataclass(frozen=True)
class _Kind:
    """Detectors of one `model_type`.

    Attributes:
        model: name of the class.
        score_threshold: that transformers uses.
        resize: how the image comes to the network's size, as in ImageInput.
        reader: makes what turns phrases into inputs, and logits into scores of phrases.
        one_by_one: whether phrases are asked one after another.
    """

    model: str
    score_threshold: float
    resize: str
    reader: Callable[[ModelFolder, Any], _Reader]
    one_by_one: bool = False


class _Reader:
    """Of phrases that have an embedding each."""

    text = "{}"
    """Around a phrase, as the network was trained."""

    def __init__(self, folder: ModelFolder, config: Any) -> None:
        self._tokenizer = tokenizer_of(folder)
        self._most_tokens = config.text_config.max_position_embeddings

    def inputs(self, phrases: Sequence[str]) -> dict[str, Any]:
        """The network's inputs beside the image.

        Raises:
            ModelError: a phrase is too long.
        """
        texts = [self.text.format(phrase) for phrase in phrases]
        for phrase, ids in zip(phrases, self._tokenizer(texts)["input_ids"], strict=True):
            if len(ids) > self._most_tokens:
                raise ModelError(
                    f"{phrase!r} has {len(ids)} tokens, and the model takes {self._most_tokens}; use fewer words"
                )
        encoded = self._tokenizer(texts, padding="max_length", max_length=self._most_tokens, return_tensors="pt")
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}

    def scores(
        self, logits: NDArray[np.float32], inputs: Mapping[str, Any], phrases: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The score (Q,) of each query and its phrase (Q,), from logits (Q, C)."""
        return sigmoid(logits.max(axis=1)), logits.argmax(axis=1)


class _OwlReader(_Reader):
    """Of OWL-ViT and OWLv2."""

    text = "a photo of a {}"


class _TokenReader(_Reader):
    """Of one text, in which each phrase ends with a full stop, and has no other."""

    def __init__(self, folder: ModelFolder, config: Any) -> None:
        self._tokenizer = tokenizer_of(folder)
        self._most_tokens = config.max_text_len
        (self._stop,) = self._tokenizer.encode(_SEPARATOR, add_special_tokens=False)

    def inputs(self, phrases: Sequence[str]) -> dict[str, Any]:
        """As _Reader says.

        Raises:
            ModelError: the words are too many, or the tokenizer knows nothing of a phrase.
        """
        texts = [" ".join(phrase.replace(_SEPARATOR, " ").split()) for phrase in phrases]  # 0.5 ends no phrase
        encoded = self._tokenizer(" ".join(f"{text}{_SEPARATOR}" for text in texts), return_tensors="pt")
        count = encoded["input_ids"].shape[1]
        if count > self._most_tokens:
            raise ModelError(f"the words have {count} tokens, and the model takes {self._most_tokens}; use fewer words")
        for phrase, tokens in zip(phrases, self._tokens_of(dict(encoded), len(phrases)), strict=True):
            if len(tokens) == 0:
                raise ModelError(f"the model's tokenizer knows no word of {phrase!r}; use words of its language")
        return dict(encoded)

    def scores(
        self, logits: NDArray[np.float32], inputs: Mapping[str, Any], phrases: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As _Reader says: a phrase's score is that of its best token, and a query has the best phrase.

        transformers takes the best of all tokens, also where that is a full stop or the text's beginning, for which no
        network is trained: nobody asked for them.
        """
        of_phrase = np.stack(
            [logits[:, tokens].max(axis=1) for tokens in self._tokens_of(inputs, len(phrases))], axis=1
        )
        return sigmoid(of_phrase.max(axis=1)), of_phrase.argmax(axis=1)

    def _tokens_of(self, inputs: Mapping[str, Any], count: int) -> list[NDArray[np.int64]]:
        """The places of each phrase's own tokens in the text."""
        ids = inputs["input_ids"][0].cpu().numpy()
        phrase_of_token = np.cumsum(ids == self._stop)
        own = ~np.isin(ids, [self._stop, *self._tokenizer.all_special_ids])
        return [np.flatnonzero(own & (phrase_of_token == phrase)) for phrase in range(count)]


class _ClassReader(_Reader):
    """Of a network that has classes: a phrase stands for those with all its words in their names."""

    def __init__(self, folder: ModelFolder, config: Any) -> None:
        self._names = [name.lower().split() for name in class_names_of(folder.path, config.id2label)]

    def inputs(self, phrases: Sequence[str]) -> dict[str, Any]:
        """As _Reader says: none.

        Raises:
            ModelError: no class has such a name.
        """
        for phrase in phrases:
            if not self._classes(phrase):
                known = ", ".join(" ".join(name) for name in self._names[:10])
                raise ModelError(f"the model knows no class {phrase!r}, but {len(self._names)} such as {known}")
        return {}

    def scores(
        self, logits: NDArray[np.float32], inputs: Mapping[str, Any], phrases: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As _Reader says."""
        of_phrase = np.stack([logits[:, self._classes(phrase)].max(axis=1) for phrase in phrases], axis=1)
        return sigmoid(of_phrase.max(axis=1)), of_phrase.argmax(axis=1)

    def _classes(self, phrase: str) -> list[int]:
        words = phrase.lower().split()
        return [index for index, name in enumerate(self._names) if all(word in name for word in words)]


DETECTORS = {
    "owlvit": _Kind("OwlViTForObjectDetection", 0.1, "stretch", _OwlReader),
    "owlv2": _Kind("Owlv2ForObjectDetection", 0.1, "fit", _OwlReader),
    "sam3": _Kind("Sam3Model", 0.3, "stretch", _Reader, one_by_one=True),
    "sam3_video": _Kind("Sam3Model", 0.3, "stretch", _Reader, one_by_one=True),
    "grounding-dino": _Kind("GroundingDinoForObjectDetection", 0.25, "stretch", _TokenReader),
    "mm-grounding-dino": _Kind("MMGroundingDinoForObjectDetection", 0.25, "stretch", _TokenReader),
    "rt_detr": _Kind("RTDetrForObjectDetection", 0.5, "stretch", _ClassReader),
    "rt_detr_v2": _Kind("RTDetrV2ForObjectDetection", 0.5, "stretch", _ClassReader),
}
"""By `model_type`."""


def load_text_detector(path: Path, threads: int) -> Detector:
    """The detector in a folder.

    Args:
        path: of the folder.
        threads: CPU threads, 0 for PyTorch's own choice.

    Raises:
        ModelError: the folder or its weights lack a part, its model is of no kind that is known, or it does not run.
    """
    folder = ModelFolder(path)
    kind = DETECTORS.get(folder.model_type)
    if kind is None:
        raise ModelError(
            f"{path} holds a model of the type {folder.model_type!r}, which finds nothing for words; known are "
            f"{', '.join(DETECTORS)}"
        )
    return Detector(folder, kind, threads)


class Detector:
    """As TextDetector says.

    Attributes:
        model: of transformers.
    """

    def __init__(self, folder: ModelFolder, kind: _Kind, threads: int) -> None:
        said = folder.processing()
        self._size = size_of(said, folder.path)
        self._image = folder.image_input(said, kind.resize, fill=0.0)
        self.model, self._device = folder.load(kind.model, threads)
        self._reader = kind.reader(folder, self.model.config)
        self._one_by_one = kind.one_by_one
        self.info = folder.info(("object",), kind.score_threshold, mask_threshold=0.0)
        folder.try_out(self._run_once)

    @property
    def backend(self) -> str:
        """The versions and the device."""
        return runtime_on(self._device)

    def __call__(self, color_rgb: NDArray[np.uint8], phrases: Sequence[str]) -> Detections:
        """As TextDetector says.

        Raises:
            ModelError: the words are too many, or name nothing that the model knows.
            NotFiniteError: the network gives numbers that are none.
        """
        inputs = self._reader.inputs(phrases)
        with torch.inference_mode():
            logits, boxes, placement = self._run(color_rgb, inputs)
        scores, phrase_ids = self._reader.scores(logits, inputs, phrases)
        corners = placement.boxes_in_camera(corners_of(boxes) * np.tile(placement.network_wh, 2))
        require_finite("scores", scores)
        require_finite("boxes", corners)
        width, height = placement.camera_wh
        corners = np.clip(corners, 0, [width, height, width, height]).astype(np.float32)
        return Detections(corners, scores, phrase_ids.astype(np.int64))

    def _run_once(self) -> None:
        """Of a network that has classes, no words are asked: they would have to be its own."""
        words = {} if isinstance(self._reader, _ClassReader) else self._reader.inputs(["object"])
        with torch.inference_mode():
            self._run(np.zeros((*WARM_UP_HW, 3), dtype=np.uint8), words)

    def _run(self, color_rgb: NDArray[np.uint8], inputs: Mapping[str, Any]) -> tuple[NDArray, NDArray, Any]:
        """The logits (Q, C), the boxes (Q, 4) in shares of the network's image, and where the camera's is in it."""
        camera_wh = color_rgb.shape[1], color_rgb.shape[0]
        placement = self._image.placement(camera_wh, network_wh(self._size, camera_wh))
        image = torch.from_numpy(np.ascontiguousarray(self._image.fed(color_rgb, placement, np.float32))[None])
        moved = {name: tensor.to(self._device) for name, tensor in inputs.items()}
        if self._one_by_one:
            return *self._each_phrase(image.to(self._device), moved), placement
        outputs = self.model(pixel_values=image.to(self._device), **moved)
        return outputs.logits[0].float().cpu().numpy(), outputs.pred_boxes[0].float().cpu().numpy(), placement

    def _each_phrase(self, image: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> tuple[NDArray, NDArray]:
        """The logits (P * Q, P) and the boxes (P * Q, 4) of SAM 3, whose encoder looks at the image once for P phrases.

        A query's score is its own times that of there being such a thing, and is for the phrase that was asked alone.
        """
        seen = self.model.get_vision_features(image)
        count = len(next(iter(inputs.values())))
        logits, boxes = [], []
        for phrase in range(count):
            one = {name: values[phrase : phrase + 1] for name, values in inputs.items()}
            outputs = self.model(vision_embeds=seen, **one)
            scores = (outputs.pred_logits[0].sigmoid() * outputs.presence_logits[0].sigmoid()).float()
            of_phrases = torch.full((len(scores), count), _NEVER, device=scores.device)
            of_phrases[:, phrase] = torch.logit(scores, eps=_SURE)
            corners = outputs.pred_boxes[0].float()
            logits.append(of_phrases)
            boxes.append(torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], dim=1))
        return torch.cat(logits).cpu().numpy(), torch.cat(boxes).cpu().numpy()
