"""Runs a model of the library transformers from a folder, with PyTorch: its weights as safetensors, no code of its own.

The folder is what `save_pretrained` writes and `hf download` fetches: config.json, safetensors, and
preprocessor_config.json, which says how images are fed. Outputs are read as those of the exported graphs are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from instance_seg_ros.segmentation.contract import require_known_classes
from instance_seg_ros.segmentation.families.family import Family, Reading
from instance_seg_ros.segmentation.families.image_input import ImageInput, Sides
from instance_seg_ros.segmentation.families.mask_queries import DETR, MASK2FORMER, MASKFORMER
from instance_seg_ros.segmentation.families.rf_detr import IMAGENET_MEAN, IMAGENET_STD, RF_DETR_SEG
from instance_seg_ros.segmentation.model_file import MAX_CLASSES, ModelError, ModelInfo
from instance_seg_ros.segmentation.postprocessing import NetworkOutput

RUNTIME = f"transformers {transformers.__version__}, PyTorch {torch.__version__}"

_WARM_UP_HW = (96, 128)
_MULTIPLE = 32
"""Of each side of an image whose size follows the camera's."""


@dataclass(frozen=True)
class _Kind:
    """Models of one `model_type`.

    Attributes:
        model: name of the class.
        fields: of its output, by the role that they have for the family.
    """

    model: str
    family: Family
    fields: Mapping[str, str]


_PAIRS = {"logits": "class_queries_logits", "masks": "masks_queries_logits"}
_BOXES = {"logits": "logits", "boxes": "pred_boxes", "masks": "pred_masks"}
_KINDS = {
    "mask2former": _Kind("Mask2FormerForUniversalSegmentation", MASK2FORMER, _PAIRS),
    "maskformer": _Kind("MaskFormerForInstanceSegmentation", MASKFORMER, _PAIRS),
    "detr": _Kind("DetrForSegmentation", DETR, _BOXES),
    "rf_detr": _Kind("RfDetrForInstanceSegmentation", RF_DETR_SEG, _BOXES),
}


class TransformersNetwork:
    """A model from a folder. For one caller at a time.

    Args:
        folder: of the model.
        threads: CPU threads, 0 for PyTorch's own choice.

    Raises:
        ModelError: the folder or its weights lack a part, the weights are no safetensors, its model is of no kind that
            is known, or it does not run.
    """

    input_names = ("color_rgb",)

    def __init__(self, folder: Path, threads: int) -> None:
        config = _read_json(folder / "config.json")
        kind = _KINDS.get(str(config.get("model_type")))
        if kind is None:
            raise ModelError(
                f"{folder} holds a model of the type {config.get('model_type')!r}; known are {', '.join(_KINDS)}"
            )
        weights = sorted(folder.glob("*.safetensors"))
        if not weights:
            raise ModelError(f"{folder} has no weights as safetensors; other formats can run code and are not loaded")
        self._kind = kind
        self._folder = folder
        self._size, self._image = _image_of(folder)
        if threads:
            torch.set_num_threads(threads)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            model, loaded = getattr(transformers, kind.model).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        except Exception as error:  # of any kind, by what is wrong in the folder
            raise ModelError(f"transformers cannot load {folder}: {_first_line(error)}") from error
        # transformers fills them with random numbers: a detector would get random masks.
        random = sorted({name for name, _ in model.named_parameters()} & set(loaded["missing_keys"]))
        if random:
            raise ModelError(
                f"{folder} has no weights for {len(random)} parts of a {kind.model}, such as {random[0]}; is it a "
                "model without masks?"
            )
        self._model = model.eval().to(self._device)
        self.info = ModelInfo(
            name=folder.name,
            version=str(config.get("transformers_version", "unknown")),
            class_names=_class_names(folder, model.config.id2label),
            score_threshold=kind.family.score_threshold,
            mask_threshold=kind.family.mask_threshold,
            digest=_digest([folder / "config.json", *weights]),
            needs_color=True,
        )
        try:
            self({"color_rgb": np.zeros((*_WARM_UP_HW, 3), dtype=np.uint8)})
        except Exception as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(f"transformers cannot run {folder}: {_first_line(error)}") from error

    @property
    def backend(self) -> str:
        """The versions and the device."""
        return f"{RUNTIME} on {torch.cuda.get_device_name() if self._device == 'cuda' else 'the CPU'}"

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs the model on one frame.

        Args:
            inputs: "color_rgb" (H, W, 3) uint8.

        Raises:
            ModelError: an object has a class without a name; NotFiniteError where numbers are none.
        """
        color_rgb = inputs["color_rgb"]
        camera_wh = color_rgb.shape[1], color_rgb.shape[0]
        placement = self._image.placement(camera_wh, _network_wh(self._size, camera_wh))
        image = torch.from_numpy(np.ascontiguousarray(self._image.fed(color_rgb, placement, np.float32))[None])
        with torch.inference_mode():
            outputs = self._model(pixel_values=image.to(self._device))
        by_role = {role: getattr(outputs, name).float().cpu().numpy() for role, name in self._kind.fields.items()}
        family, names = self._kind.family, self.info.class_names
        output = family.decode(by_role, Reading(placement, len(names), family.nms_iou))
        require_known_classes(self._folder, output, names, "id2label of config.json")
        return output


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent} is no model of transformers: it has no {path.name}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no facts by name")
    return content


def _image_of(folder: Path) -> tuple[Mapping[str, int], ImageInput]:
    """The size and the way of feeding of preprocessor_config.json."""
    said = _read_json(folder / "preprocessor_config.json")
    size = said.get("size")
    if isinstance(size, int):
        size = {"shortest_edge": size, "longest_edge": said.get("max_size") or 1333}
    if not isinstance(size, dict) or not ({"height", "width"} <= size.keys() or "shortest_edge" in size):
        raise ModelError(
            f"{folder}/preprocessor_config.json: size must have height and width, or shortest_edge, not {size!r}"
        )
    is_normalised = said.get("do_normalize", True)
    try:
        return size, ImageInput(
            size_wh=None,
            resize="stretch",
            scale=float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0,
            mean=_three(said.get("image_mean", IMAGENET_MEAN)) if is_normalised else (0.0, 0.0, 0.0),
            std=_three(said.get("image_std", IMAGENET_STD)) if is_normalised else (1.0, 1.0, 1.0),
        )
    except (TypeError, ValueError) as error:
        raise ModelError(f"{folder}/preprocessor_config.json cannot be used: {error}") from error


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _network_wh(size: Mapping[str, int], camera_wh: Sides) -> Sides:
    """A fixed size, or the camera's with the shorter side as given, if the longer one is not too long then."""
    if "shortest_edge" not in size:
        return size["width"], size["height"]
    scale = size["shortest_edge"] / min(camera_wh)
    longest = size.get("longest_edge")
    if longest:
        scale = min(scale, longest / max(camera_wh))
    width, height = (max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in camera_wh)
    return width, height


def _class_names(folder: Path, id2label: Mapping[int, str]) -> tuple[str, ...]:
    ids = sorted(id2label)
    if ids != list(range(len(ids))) or not 0 < len(ids) <= MAX_CLASSES:
        raise ModelError(
            f"{folder}/config.json: id2label must number 1 to {MAX_CLASSES} classes from 0, not {ids[:10]}"
        )
    return tuple(str(id2label[index]) for index in ids)


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
