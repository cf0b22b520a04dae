"""Runs a model of transformers from a folder, with PyTorch; its outputs are read as those of exported graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from instance_seg_ros.segmentation.contract import require_known_classes
from instance_seg_ros.segmentation.families.family import Family, Reading
from instance_seg_ros.segmentation.families.image_input import Sides
from instance_seg_ros.segmentation.families.mask_queries import DETR, EOMT, MASK2FORMER, MASKFORMER
from instance_seg_ros.segmentation.families.rf_detr import RF_DETR_SEG
from instance_seg_ros.segmentation.families.stuff import stuff_of_folder
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.postprocessing import NetworkOutput
from instance_seg_ros.segmentation.runtimes.transformers_folder import (
    WARM_UP_HW,
    ModelFolder,
    class_names_of,
    network_wh,
    runtime_on,
    size_of,
    tokenizer_of,
)

_TASK = "the task is {}"
"""In the words that OneFormer was trained with (Jain et al., CVPR 2023); of a panoptic one, stuff is asked for, too."""


@dataclass(frozen=True)
class _Kind:
    """Models of one `model_type`.

    Attributes:
        model: name of the class.
        fields: of its output, by the role that they have for the family.
        is_square: whether the image lies at the top left of a square that is black beside it.
        takes_task: whether it is told in words what to do.
    """

    model: str
    family: Family
    fields: Mapping[str, str]
    is_square: bool = False
    takes_task: bool = False


_PAIRS = {"logits": "class_queries_logits", "masks": "masks_queries_logits"}
_BOXES = {"logits": "logits", "boxes": "pred_boxes", "masks": "pred_masks"}
_KINDS = {
    "mask2former": _Kind("Mask2FormerForUniversalSegmentation", MASK2FORMER, _PAIRS),
    "maskformer": _Kind("MaskFormerForInstanceSegmentation", MASKFORMER, _PAIRS),
    "oneformer": _Kind("OneFormerForUniversalSegmentation", MASKFORMER, _PAIRS, takes_task=True),
    "eomt": _Kind("EomtForUniversalSegmentation", EOMT, _PAIRS, is_square=True),
    "detr": _Kind("DetrForSegmentation", DETR, _BOXES),
    "rf_detr": _Kind("RfDetrForInstanceSegmentation", RF_DETR_SEG, _BOXES),
}


class TransformersNetwork:
    """A model from a folder. For one caller at a time.

    Args:
        path: of the folder.
        threads: CPU threads, 0 for PyTorch's own choice.

    Attributes:
        stuff_from: who says which classes are stuff, for people; "" where none are.

    Raises:
        ModelError: the folder or its weights lack a part, the weights are no safetensors, its model is of no kind that
            is known, or it does not run.
    """

    input_names = ("color_rgb",)

    def __init__(self, path: Path, threads: int) -> None:
        folder = ModelFolder(path)
        kind = _KINDS.get(folder.model_type)
        if kind is None:
            raise ModelError(f"{path} holds a model of the type {folder.model_type!r}; known are {', '.join(_KINDS)}")
        self._kind = kind
        self._path = path
        said = folder.processing()
        if said.get("do_split_image"):
            raise ModelError(
                f"{path} is trained for semantic segmentation (do_split_image), which tells no objects apart; take one "
                "for instances or panoptic segmentation"
            )
        self._size = size_of(said, path)
        self._image = folder.image_input(said, "fit", fill=0.0) if kind.is_square else folder.image_input(said)
        self._model, self._device = folder.load(kind.model, threads)
        names = class_names_of(path, self._model.config.id2label)
        stuff_class_ids, self.stuff_from = stuff_of_folder(path, folder.config, said, names)
        thresholds = kind.family.score_threshold, kind.family.mask_threshold
        self.info = folder.info(names, *thresholds, stuff_class_ids, stuff_is_told=bool(self.stuff_from))
        task = _TASK.format("panoptic" if stuff_class_ids else "instance")
        self._task = {"task_inputs": _tokens_of(folder, task, self._model.config)} if kind.takes_task else {}
        folder.try_out(lambda: self({"color_rgb": np.zeros((*WARM_UP_HW, 3), dtype=np.uint8)}))

    @property
    def backend(self) -> str:
        """The versions and the device."""
        return runtime_on(self._device)

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs the model on one frame.

        Args:
            inputs: "color_rgb" (H, W, 3) uint8.

        Raises:
            ModelError: an object has a class without a name; NotFiniteError where numbers are none.
        """
        color_rgb = inputs["color_rgb"]
        camera_wh = color_rgb.shape[1], color_rgb.shape[0]
        placement = self._image.placement(camera_wh, self._network_wh(camera_wh))
        image = torch.from_numpy(np.ascontiguousarray(self._image.fed(color_rgb, placement, np.float32))[None])
        with torch.inference_mode():
            task = {name: ids.to(self._device) for name, ids in self._task.items()}
            outputs = self._model(pixel_values=image.to(self._device), **task)
        by_role = {role: getattr(outputs, name).float().cpu().numpy() for role, name in self._kind.fields.items()}
        family, names = self._kind.family, self.info.class_names
        output = family.decode(by_role, Reading(placement, len(names), family.nms_iou))
        require_known_classes(self._path, output, names, "id2label of config.json")
        return output

    def _network_wh(self, camera_wh: Sides) -> Sides:
        if self._kind.is_square:
            side = self._size.get("longest_edge") or self._size.get("shortest_edge") or self._size["width"]
            return side, side
        return network_wh(self._size, camera_wh)


def _tokens_of(folder: ModelFolder, task: str, config: Any) -> torch.Tensor:
    """The tokens (1, length) of what a model that does several tasks shall do."""
    length = config.task_seq_len
    ids = tokenizer_of(folder)(task, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    tokens: torch.Tensor = ids["input_ids"]
    return tokens
