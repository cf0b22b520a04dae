"""Graphs with the published outputs of each family, which find the two blocks of `make_frame` in any image.

They are written with onnx.helper and hold no network: two objects, their masks, and a sum with the image that is always
0, so that a runtime cannot do without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

NETWORK_WH = (160, 128)
OFFSETS_XY = {"letterbox": (0, 4), "fit": (0, 0), "stretch": (0, 0)}
"""Of the camera's 160x120 in the network's image; "stretch" scales rows by 128 / 120 besides."""
SCORES = (0.9, 0.8)
LOGIT = 40.0
_CONSTANTS = {
    "rtmdet-ins": {"some boxes": np.array([[[0, 0, 1, 1]]]), "some scores": np.array([[[0.5]]])},
    "mask2former": {"some values": np.zeros((1, 1, 2, 2)), "a grid": np.zeros((1, 1, 1, 2))},
}
_CLASS_NAMES = "{0: 'block'}"


def boxes_in_network(boxes_xyxy: Sequence[Sequence[float]], rule: str) -> np.ndarray:
    """Boxes (2, 4) of the camera's pixels in the network's."""
    boxes = np.array(boxes_xyxy, dtype=np.float64)
    if rule == "stretch":
        boxes[:, 1::2] *= NETWORK_WH[1] / 120
    return boxes + np.tile(OFFSETS_XY[rule], 2)


def masks_of(boxes_xyxy: np.ndarray, inside: float, outside: float, stride: int) -> np.ndarray:
    """Masks (2, h, w) of rectangles on a grid that covers the network's image."""
    rows, columns = (np.indices((NETWORK_WH[1] // stride, NETWORK_WH[0] // stride)) + 0.5) * stride
    x0, y0, x1, y1 = boxes_xyxy.T[:, :, None, None]
    hit = (columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1)
    return np.where(hit, inside, outside).astype(np.float32)


def logit(probability: float) -> float:
    """The inverse of the sigmoid."""
    return float(np.log(probability / (1 - probability)))


def outputs_of(family: str, blocks_xyxy: Sequence[Sequence[float]]) -> dict[str, np.ndarray]:
    """What a family's network says of the two blocks, by the name of the output."""
    rule = {"yolo-seg": "letterbox", "yolo-seg-end2end": "letterbox", "rtmdet-ins": "fit", "solov2": "fit"}.get(
        family, "fit" if family == "torchvision-mask-rcnn" else "stretch"
    )
    boxes = boxes_in_network(blocks_xyxy, rule)
    centers = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    relative = centers / np.tile(NETWORK_WH, 2)
    logits = masks_of(boxes, LOGIT, -LOGIT, stride=4)
    whole = masks_of(boxes, 0.99, 0.0, stride=1)
    scores = np.array(SCORES)
    if family == "yolo-seg":
        columns = np.zeros((4 + 1 + 2, 12))
        columns[:4, :2], columns[4, :2], columns[5:, :2] = centers.T, scores, np.eye(2)
        outputs = {"output0": columns[None], "output1": logits[None]}
    elif family == "yolo-seg-end2end":
        rows = np.zeros((12, 6 + 2))
        rows[:2, :4], rows[:2, 4], rows[:2, 6:] = boxes, scores, np.eye(2)
        outputs = {"output0": rows[None], "output1": logits[None]}
    elif family == "rf-detr-seg":
        outputs = {"dets": relative[None], "labels": np.array([[[logit(s)] for s in SCORES]]), "masks": logits[None]}
    elif family in ("rtmdet-ins", "solov2"):
        detections = np.column_stack([boxes if family == "rtmdet-ins" else np.zeros_like(boxes), scores])
        outputs = {"dets": detections[None], "labels": np.zeros((1, 2), dtype=np.int64), "masks": whole[None]}
    elif family == "torchvision-mask-rcnn":
        labels = np.ones(2, dtype=np.int64)
        outputs = {"1850": boxes, "1832": labels, "1828": scores, "1970": whole[:, None]}
    elif family in ("mask2former", "maskformer"):
        classes = np.array([[[logit(s), 0] for s in SCORES]])
        outputs = {"class_queries_logits": classes, "masks_queries_logits": logits[None]}
    elif family == "detr":
        classes = np.array([[[logit(s), 0] for s in SCORES]])
        outputs = {"logits": classes, "pred_boxes": relative[None], "pred_masks": logits[None]}
    else:
        outputs = _yolact_outputs(boxes, scores)
    return {name: value if value.dtype == np.int64 else value.astype(np.float32) for name, value in outputs.items()}


def _yolact_outputs(boxes: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """On the anchors of 24 px, the first of each cell of 8 px, in whose cell a block's centre lies."""
    columns, rows = NETWORK_WH[0] // 8, NETWORK_WH[1] // 8
    total = 3 * sum(-(-NETWORK_WH[0] // stride) * -(-NETWORK_WH[1] // stride) for stride in (8, 16, 32, 64, 128))
    loc = np.zeros((total, 4))
    conf = np.tile([1.0, 0.0], (total, 1))
    coefficients = np.zeros((total, 2))
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        column, row = int((x0 + x1) / 2 // 8), int((y0 + y1) / 2 // 8)
        anchor = 3 * (row * columns + column)
        center = np.array([(column + 0.5) / columns, (row + 0.5) / rows])
        side = 24 / max(NETWORK_WH)
        wanted = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) / NETWORK_WH
        loc[anchor, :2] = (wanted - center) / (0.1 * side)
        loc[anchor, 2:] = np.log(np.array([x1 - x0, y1 - y0]) / NETWORK_WH / side) / 0.2
        conf[anchor] = 1 - scores[index], scores[index]
        coefficients[anchor, index] = 1
    prototypes = masks_of(boxes, LOGIT, -LOGIT, stride=4).transpose(1, 2, 0)
    return {"loc": loc[None], "conf": conf[None], "mask": coefficients[None], "proto": prototypes[None]}


def model(family: str, outputs: Mapping[str, np.ndarray], image_shape: Sequence[int | str] = ()) -> onnx.ModelProto:
    """A graph that gives these outputs for any image; its first operator is one that the family's graphs have."""
    shape = image_shape or ((3,) if family == "torchvision-mask-rcnn" else (1, 3)) + NETWORK_WH[::-1]
    nodes = [
        helper.make_node("ReduceMin", ["image"], ["darkest"], keepdims=0),
        helper.make_node("Sub", ["darkest", "darkest"], ["nothing"]),
    ]
    constants = _CONSTANTS.get(family, {})
    if family == "rtmdet-ins":  # what MMDeploy's graph suppresses with
        nodes.append(helper.make_node("NonMaxSuppression", list(constants), ["kept boxes"]))
    elif family == "mask2former":  # its deformable attention
        nodes.append(helper.make_node("GridSample", list(constants), ["sampled"]))
    for index, (name, value) in enumerate(outputs.items()):
        nodes.append(helper.make_node("Constant", [], [f"{name}/value"], value=numpy_helper.from_array(value)))
        if index == 0:
            nodes.append(helper.make_node("Add", [f"{name}/value", "nothing"], [name]))
        else:
            nodes.append(helper.make_node("Identity", [f"{name}/value"], [name]))
    graph = helper.make_graph(
        nodes,
        family,
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in outputs.items()
        ],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(family: str, blocks_xyxy: Sequence[Sequence[float]], folder: Path) -> Path:
    """The model file of a family for the two blocks, with the name of their class where the family's files have it."""
    proto = model(family, outputs_of(family, blocks_xyxy))
    path = folder / "model.onnx"
    if family.startswith("yolo-"):
        helper.set_model_props(proto, {"names": _CLASS_NAMES, "imgsz": "[128, 160]", "task": "segment"})
    elif family == "torchvision-mask-rcnn":
        path.with_suffix(".yaml").write_text("class_names: [background, block]\n")
    else:
        path.with_suffix(".yaml").write_text("class_names: [block]\n")
    path.write_bytes(proto.SerializeToString())
    return path
