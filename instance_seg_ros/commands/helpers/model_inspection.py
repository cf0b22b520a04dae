"""What is seen in any ONNX file, folder of transformers or weights, what it is, and how it would be fed and read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tabulate import tabulate

from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation.families.description import ExportedModel, read_exported_model
from instance_seg_ros.segmentation.families.image_input import ImageInput
from instance_seg_ros.segmentation.families.registry import FAMILIES, fits
from instance_seg_ros.segmentation.families.signature import Signature, read_signature
from instance_seg_ros.segmentation.model_file import ModelError, ModelInfo, mask_head_of, read_content
from instance_seg_ros.segmentation.model_location import located
from instance_seg_ros.segmentation.prompts import TextDetector
from instance_seg_ros.segmentation.segmenter import load_segmenter

Rows = Iterator[tuple[str, str]]

_SHOWN_NAMES = 10
_LONGEST_METADATA = 80


def inspection_of(path: Path) -> tuple[str, bool]:
    """A table for people, and whether the file can be used.

    Raises:
        ModelError: the file is missing or no ONNX model.
    """
    path = located(path)
    if path.is_dir():
        return _inspected_folder(path)
    if path.suffix == ".safetensors":
        return _inspected_weights(path)
    try:
        signature = read_signature(read_content(path))
    except ValueError as error:
        raise ModelError(f"{path} is no ONNX file or was cut short ({error}); copy or export it again") from error
    if "format" in signature.metadata:
        head = mask_head_of(signature.metadata)
        of_head = f", its mask head {head}" if head else ""
        return f"{path} is this project's own{of_head}; `instance-seg models {path}` tells of it", True
    rows = [("file", f"{path} ({path.stat().st_size / 1e6:.1f} MB), by {signature.producer or 'an unnamed exporter'}")]
    rows += _signature_rows(signature)
    try:
        model = read_exported_model(path)
    except ModelError as error:
        rows += [("cannot be used", str(error))]
        return _table(rows), False
    return _table(rows + list(_model_rows(model))), True


def _inspected_folder(path: Path) -> tuple[str, bool]:
    """The same of a folder of transformers; its weights are loaded, since only then is known whether all are there."""
    try:
        from instance_seg_ros.segmentation.runtimes.prompt_network import SAM_CLASSES, SamNetwork
        from instance_seg_ros.segmentation.runtimes.text_detectors import DETECTORS, load_text_detector
        from instance_seg_ros.segmentation.runtimes.transformers_backend import TransformersNetwork
        from instance_seg_ros.segmentation.runtimes.transformers_folder import ModelFolder
    except ImportError as error:
        raise ModelError(f"{path} is a folder, which takes transformers and PyTorch ({error})") from error
    folder = ModelFolder(path)
    rows = [("folder", str(path)), ("model type", folder.model_type)]
    try:
        loaded: SamNetwork | TextDetector | TransformersNetwork
        uses = []
        if folder.model_type in DETECTORS:
            loaded = load_text_detector(path, 0)
            uses.append("words: segmentation.text_model_path")
        if folder.model_type in SAM_CLASSES:
            loaded = SamNetwork(path, 0)
            uses.append("points and rectangles: segmentation.prompt_model_path")
        if not uses:
            loaded = TransformersNetwork(path, 0)
            uses.append("all objects: model_path or --model")
    except ModelError as error:
        return _table([*rows, ("cannot be used", str(error))]), False
    rows += [("answers", "; ".join(uses)), ("runs on", loaded.backend)]
    if isinstance(loaded, TransformersNetwork):
        rows.append(("classes", _names_line(loaded.info.class_names, "id2label of config.json")))
        rows += _stuff_rows(loaded.info, loaded.stuff_from)
    rows += [("score threshold", f"{loaded.info.score_threshold:g}"), ("digest", loaded.info.digest)]
    return _table(rows), True


def _inspected_weights(path: Path) -> tuple[str, bool]:
    """The same of weights for torchvision's Mask R-CNN, which are loaded."""
    rows = [("file", str(path))]
    try:
        loaded = load_segmenter(path, SegmentationSettings())
    except ModelError as error:
        return _table([*rows, ("cannot be used", str(error))]), False
    info = loaded.info
    names = _names_line(info.class_names, f"{path.with_suffix('.yaml').name}, else COCO")
    rows += [("read as", info.version), ("runs on", loaded.backend), ("classes", names)]
    rows += [("score threshold", f"{info.score_threshold:g}"), ("digest", info.digest)]
    return _table(rows), True


def _names_line(names: tuple[str, ...], source: str) -> str:
    further = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"{', '.join(names[:_SHOWN_NAMES])}{further} ({source})"


def _table(rows: list[tuple[str, str]]) -> str:
    return tabulate(rows, tablefmt="plain", disable_numparse=True)


def _signature_rows(signature: Signature) -> Rows:
    for title, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for tensor in tensors:
            yield title, str(tensor)
    for key, value in signature.metadata.items():
        yield "metadata", f"{key}: {value if len(value) <= _LONGEST_METADATA else value[:_LONGEST_METADATA] + ' ...'}"
    for name, fit in fits(signature).items():
        expected = ", ".join(map(str, FAMILIES[name].outputs))
        if fit.obstacle is None:
            yield name, "fits: " + ", ".join(f"{role} is {output}" for role, output in fit.roles.items())
        else:
            yield name, f"no: {fit.obstacle}" if fit.roles else f"no: {expected} expected"


def _model_rows(model: ExportedModel) -> Rows:
    yield "read as", model.family.title
    yield "image", _image_line(model.image, model.image_tensor.shape[-2:])
    yield "classes", _names_line(model.info.class_names, model.class_names_from)
    yield from _stuff_rows(model.info, model.stuff_from)
    yield "score threshold", f"{model.info.score_threshold:g}"
    yield "digest", model.info.digest


def _stuff_rows(info: ModelInfo, source: str) -> Rows:
    """Which classes are no objects; nothing of a model whose classes all are."""
    if info.stuff_class_ids:
        names = tuple(info.class_names[index] for index in info.stuff_class_ids)
        yield "stuff, no objects", _names_line(names, source)


def _image_line(image: ImageInput, sides_hw: tuple[int | None, ...]) -> str:
    height, width = sides_hw
    size = "the camera's size" if image.size_wh is None else f"{image.size_wh[0]}x{image.size_wh[1]}"
    if width is not None and height is not None:
        size = f"{width}x{height}"
    if image.resize != "stretch":
        size += f" with {'0 after all this' if image.fill is None else f'{image.fill:g}'} beside the image"
    values = ", ".join(f"({mean:g}, {std:g})" for mean, std in zip(image.mean, image.std, strict=True))
    return (
        f"{size} by {image.resize}, {image.channels}, pixel x {image.scale:.4g}, then by channel (mean, std) {values}"
    )
