"""Folders of small models of transformers whose networks are stood in for: they find the two blocks of `make_frame`.

Folder, loading, the image's way in and the reading of the outputs are the real ones; what the network itself says of
the image is made here. Those that are panoptic also see a wall around the blocks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

CLASS_NAMES = ("block", "wall", "floor", "door", "lamp")
STUFF = (1, 2)
SEGMENTERS = {
    "mask2former": "Mask2FormerForUniversalSegmentation",
    "maskformer": "MaskFormerForInstanceSegmentation",
    "oneformer": "OneFormerForUniversalSegmentation",
    "eomt": "EomtForUniversalSegmentation",
    "detr": "DetrForSegmentation",
    "rf_detr": "RfDetrForInstanceSegmentation",
}
"""The class of transformers by `model_type`."""
PROMPTABLE = {"sam": ("SamModel", 256), "sam2": ("Sam2Model", 128), "sam3": ("Sam3TrackerModel", 112)}
"""The class, and the side of the network's image."""
DETECTORS = {
    "owlvit": "OwlViTForObjectDetection",
    "owlv2": "Owlv2ForObjectDetection",
    "sam3_words": "Sam3Model",
    "grounding-dino": "GroundingDinoForObjectDetection",
    "mm-grounding-dino": "MMGroundingDinoForObjectDetection",
    "rt_detr": "RTDetrForObjectDetection",
    "rt_detr_v2": "RTDetrV2ForObjectDetection",
}
_BELOW = -20.0
_SQUARE = 160

Boxes = Sequence[Sequence[float]]


def save(name: str, networks: ModuleType, folders: ModuleType, folder: Path) -> None:
    """Saves one of SEGMENTERS as transformers does, with names of its classes.

    Args:
        networks: the module that makes them.
        folders: the module that makes tokenizers.
    """
    model = getattr(networks, name)().model
    model.config.id2label = dict(enumerate(CLASS_NAMES))
    model.config.label_ids_to_fuse = list(STUFF)
    model.save_pretrained(folder)
    said: dict[str, Any] = {"size": {"height": 128, "width": 160}, "do_normalize": False}
    if name == "eomt":
        said = {"size": {"shortest_edge": _SQUARE, "longest_edge": _SQUARE}, "do_split_image": False}
    elif name == "oneformer":
        folders.save_clip_tokenizer(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(said))


def outputs_of(name: str, graphs: ModuleType, blocks_xyxy: Boxes) -> dict[str, torch.Tensor]:
    """What the network of one of SEGMENTERS says, by the fields of transformers.

    Args:
        graphs: the module of exported graphs that say the same.
        blocks_xyxy: (2, 4), in the camera's pixels.
    """
    boxes = graphs.boxes_in_network(blocks_xyxy, "fit" if name == "eomt" else "stretch")
    masks = graphs.masks_of(boxes, graphs.LOGIT, -graphs.LOGIT, stride=4)
    masks = np.concatenate([masks, -masks.max(axis=0, keepdims=True)])
    if name == "eomt":  # a square, with what is below the image
        masks = np.pad(masks, ((0, 0), (0, _SQUARE // 4 - masks.shape[1]), (0, 0)), constant_values=-graphs.LOGIT)
    scores, classes = np.array([*graphs.SCORES, 0.9]), np.array([0, 0, 1])
    logits = np.full((3, len(CLASS_NAMES) + 1), _BELOW)
    if name == "rf_detr":
        logits[range(3), classes] = np.log(scores / (1 - scores))
    else:
        logits[range(3), classes], logits[:, -1] = np.log(scores), np.log(1 - scores)
    if name in ("detr", "rf_detr"):
        corners = np.concatenate([boxes, [[0, 0, *graphs.NETWORK_WH]]])
        relative = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
        arrays = {"logits": logits, "pred_boxes": relative / np.tile(graphs.NETWORK_WH, 2), "pred_masks": masks}
    else:
        arrays = {"class_queries_logits": logits, "masks_queries_logits": masks}
    return {field: torch.from_numpy(array[None].astype(np.float32)) for field, array in arrays.items()}


def saying(outputs: dict[str, torch.Tensor]) -> Callable[..., SimpleNamespace]:
    """A `forward` that gives these outputs for any image."""
    return lambda self, pixel_values, **others: SimpleNamespace(**outputs)


def answering_prompts(name: str, blocks_xyxy: Boxes, camera_wh: tuple[int, int]) -> Callable[..., SimpleNamespace]:
    """A `forward` of one of PROMPTABLE that gives the block at a point or in a rectangle, as the second of three."""
    _, side = PROMPTABLE[name]
    gain = np.full(2, side / max(camera_wh)) if name == "sam" else side / np.array(camera_wh)
    blocks = np.array(blocks_xyxy) * np.tile(gain, 2)
    y, x = (np.indices((64, 64)) + 0.5) * (side / 64)

    def forward(
        self: object,
        image_embeddings: Any,
        input_points: torch.Tensor | None = None,
        input_boxes: torch.Tensor | None = None,
        multimask_output: bool = True,
    ) -> SimpleNamespace:
        if input_points is not None:
            centers = input_points[0, :, 0].numpy()
        else:
            assert input_boxes is not None
            corners = input_boxes[0].numpy()
            centers = (corners[:, :2] + corners[:, 2:]) / 2
        masks = np.full((len(centers), 3, 64, 64), _BELOW, dtype=np.float32)
        for mask, center in zip(masks, centers, strict=True):
            x0, y0, x1, y1 = blocks[np.abs(blocks[:, :2] + blocks[:, 2:] - 2 * center).sum(axis=1).argmin()]
            mask[1, (x >= x0) & (x < x1) & (y >= y0) & (y < y1)] = -_BELOW
        scores = np.tile(np.array([0.2, 0.75, 0.1], np.float32), (len(centers), 1))
        kept = slice(None) if multimask_output else slice(1, 2)
        return SimpleNamespace(
            iou_scores=torch.from_numpy(scores[None, :, kept]), pred_masks=torch.from_numpy(masks[None, :, kept])
        )

    return forward


def naming(name: str, box_xyxy: Sequence[float], camera_wh: tuple[int, int]) -> Callable[..., SimpleNamespace]:
    """A `forward` of one of DETECTORS that finds any first phrase in a rectangle of the camera's image."""
    whole = np.full(2, max(camera_wh)) if name == "owlv2" else np.array(camera_wh)
    corners = np.array(box_xyxy, dtype=np.float64)
    center, size = (corners[:2] + corners[2:]) / 2 / whole, (corners[2:] - corners[:2]) / whole
    boxes = torch.tensor([[[*center, *size], [0.5, 0.5, 0.1, 0.1]]], dtype=torch.float32)

    def each_phrase(self: object, vision_embeds: Any, **others: Any) -> SimpleNamespace:
        sides = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
        sure, logits = torch.full((1, 1), -_BELOW), torch.tensor([[float(np.log(0.6 / 0.4)), _BELOW]])
        return SimpleNamespace(pred_logits=logits, presence_logits=sure, pred_boxes=torch.cat(sides, dim=-1))

    def forward(self: object, pixel_values: torch.Tensor, input_ids: Any = None, **others: Any) -> SimpleNamespace:
        columns = 64 if "dino" in name else 3 if input_ids is None else len(input_ids)
        logits = torch.full((1, 2, columns), _BELOW)
        logits[0, 0] = float(np.log(0.6 / 0.4))
        return SimpleNamespace(logits=logits, pred_boxes=boxes)

    return each_phrase if name == "sam3_words" else forward
