"""What is known of an exported model: its own facts, those of its family, and those of the YAML file beside it.

Nothing goes by the name of the file. The YAML file has the model's name with the ending .yaml and may say anything that
the model does not, or better: `family`, `class_names`, `stuff_classes`, `score_threshold`, `nms_iou` and `input` with
`size_wh`, `resize`, `channels`, `scale`, `mean`, `std` and `fill`.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from instance_seg_ros.segmentation.families.family import Family, Fit
from instance_seg_ros.segmentation.families.image_input import CHANNEL_ORDERS, RESIZE_RULES, ImageInput
from instance_seg_ros.segmentation.families.registry import FAMILIES, fits
from instance_seg_ros.segmentation.families.signature import Signature, Tensor, read_signature
from instance_seg_ros.segmentation.families.stuff import stuff_by_names, stuff_listed
from instance_seg_ros.segmentation.model_file import MAX_CLASSES, ModelError, ModelInfo, graph_digest, read_content

_KEYS = ("family", "class_names", "stuff_classes", "score_threshold", "nms_iou", "input")
_INPUT_KEYS = ("size_wh", "resize", "channels", "scale", "mean", "std", "fill")


@dataclass(frozen=True)
class ExportedModel:
    """An exported model of another project, ready to be fed and read.

    Attributes:
        family, fit: what it is, and where its outputs are.
        signature: of its graph.
        image: how it wants its image.
        image_tensor: the input that takes it.
        info: as the segmenter shows it.
        nms_iou: as in Reading.
        class_names_from: where the names come from; for people.
        stuff_from: who says which classes are stuff; "" where none are.
    """

    family: Family
    fit: Fit
    signature: Signature
    image: ImageInput
    image_tensor: Tensor
    info: ModelInfo
    nms_iou: float
    class_names_from: str
    stuff_from: str


def read_exported_model(path: Path) -> ExportedModel:
    """The model in an ONNX file, with what the YAML file beside it says.

    Raises:
        ModelError: a file cannot be read, or no family's outputs are those of the graph; it tells what was expected and
            found.
    """
    content = read_content(path)
    try:
        signature, digest = read_signature(content), graph_digest(content)
    except ValueError as error:
        raise ModelError(f"{path} is no ONNX file or was cut short ({error}); copy or export it again") from error
    said, said_digest = read_yaml(path.with_suffix(".yaml"))
    family, fit = _family_of(path, signature, said)
    image_tensor = _image_tensor(path, signature)
    said_of_image = said.get("input", {})
    own_image = family.image if "size_wh" in said_of_image else _with_own_facts(path, family.image, signature)
    image = _image(path, own_image, said_of_image)
    names, names_from = _class_names(path, family, fit, signature, said)
    stuff_class_ids, stuff_from = _stuff(path, names, signature, said)
    weights = _digest_of_weights(path, content)
    info = ModelInfo(
        name=path.stem,
        version=signature.metadata.get("version", signature.producer or "unknown"),
        class_names=names,
        score_threshold=share_of(path, said, "score_threshold", family.score_threshold),
        mask_threshold=family.mask_threshold,
        digest=hashlib.sha256(f"{digest} {said_digest} {weights}".encode()).hexdigest(),
        needs_color=True,
        stuff_class_ids=stuff_class_ids,
        stuff_is_told=bool(stuff_from),
    )
    return ExportedModel(
        family,
        fit,
        signature,
        image,
        image_tensor,
        info,
        share_of(path, said, "nms_iou", family.nms_iou),
        names_from,
        stuff_from,
    )


def read_yaml(path: Path) -> tuple[dict[str, Any], str]:
    """What the YAML file beside a model says, and its digest; nothing if there is none.

    Raises:
        ModelError: it cannot be read, or has keys that mean nothing.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    try:
        said = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ModelError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    _require_keys(path, "it", said, _KEYS)
    _require_keys(path, "input", said.get("input", {}), _INPUT_KEYS)
    return said, hashlib.sha256(content).hexdigest()


def _require_keys(path: Path, what: str, said: object, known: tuple[str, ...]) -> None:
    if not isinstance(said, dict):
        raise ModelError(f"{path}: {what} must have some of the keys {', '.join(known)}, not {said!r}")
    unknown = [str(key) for key in said if key not in known]
    if unknown:
        raise ModelError(f"{path}: {what} has no {', '.join(unknown)}, but {', '.join(known)}")


def _family_of(path: Path, signature: Signature, said: Mapping[str, Any]) -> tuple[Family, Fit]:
    wanted = said.get("family")
    if wanted is not None:
        if not isinstance(wanted, str) or wanted not in FAMILIES:
            raise ModelError(f"{path}: there is no family {wanted!r}, but {', '.join(FAMILIES)}")
        fit = FAMILIES[wanted].fit(signature)
        if not fit.roles:
            raise ModelError(
                f"{path} is no {FAMILIES[wanted].title}: {fit.obstacle}, and this file: {_found(signature)}"
            )
        return FAMILIES[wanted], fit
    chosen = {name: fit for name, fit in fits(signature).items() if fit.obstacle is None}
    if len(chosen) == 1:
        name, fit = chosen.popitem()
        return FAMILIES[name], fit
    near = [f"{name}: {fit.obstacle}" for name, fit in fits(signature).items() if fit.roles and fit.obstacle]
    reason = f"it may be {' or '.join(chosen)}" if chosen else "; ".join(near) or "no family has such outputs"
    raise ModelError(
        f"{path} is not recognised: {reason}. Found: {_found(signature)}. If it is one of {', '.join(FAMILIES)}, say "
        f"so in {path.with_suffix('.yaml').name} (family: NAME); `instance-seg models inspect` tells what each expects"
    )


def _found(signature: Signature) -> str:
    return ", ".join(map(str, signature.outputs)) or "no outputs"


def _image_tensor(path: Path, signature: Signature) -> Tensor:
    """The input for the image: (1, 3, H, W) or (3, H, W), of floats or bytes."""
    for tensor in signature.inputs:
        channels = tensor.shape[-3] if len(tensor.shape) in (3, 4) else None
        if channels == 3 and (tensor.is_float or tensor.kind == "uint8"):
            return tensor
    found = ", ".join(map(str, signature.inputs)) or "none"
    raise ModelError(f"{path} has no input for an image, such as float32 [1, 3, height, width]; it has {found}")


def _with_own_facts(path: Path, image: ImageInput, signature: Signature) -> ImageInput:
    """Changed by what the file says in its metadata: `imgsz` is [height, width].

    Raises:
        ModelError: these are no sizes.
    """
    try:
        height, width = ast.literal_eval(signature.metadata.get("imgsz", ""))
    except (ValueError, SyntaxError, TypeError):
        return image
    if not all(_is_side(side) for side in (width, height)):
        raise ModelError(
            f"{path}: its metadata's imgsz is {signature.metadata['imgsz']}, and must be [height, width] in pixels; "
            f"{path.with_suffix('.yaml').name} can say better (input: size_wh: [WIDTH, HEIGHT])"
        )
    return dataclasses.replace(image, size_wh=(width, height))


def _is_side(value: object) -> bool:
    return type(value) is int and 0 < value <= 8192


def _image(path: Path, image: ImageInput, said: Mapping[str, Any]) -> ImageInput:
    """Changed by what the YAML file says.

    Raises:
        ModelError: a value cannot be used.
    """
    changes: dict[str, Any] = {}
    for key, value in said.items():
        if key in ("resize", "channels"):
            allowed = RESIZE_RULES if key == "resize" else CHANNEL_ORDERS
            usable = value in allowed
            wanted = f"one of {', '.join(allowed)}"
        elif key == "size_wh":
            usable = _are_numbers(value, 2) and all(map(_is_side, value))
            wanted = "[width, height] in pixels"
        elif key in ("mean", "std"):
            usable = _are_numbers(value, 3) and (key == "mean" or min(value) > 0)
            wanted = "three numbers, one a channel"
        else:
            usable, wanted = _are_numbers([value], 1), "a number"
        if not usable:
            raise ModelError(f"{path.with_suffix('.yaml')}: input: {key} must be {wanted}, not {value!r}")
        changes[key] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(image, **changes)


def _are_numbers(value: object, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(part, (int, float)) and not isinstance(part, bool) and math.isfinite(part) for part in value)
    )


def share_of(path: Path, said: Mapping[str, Any], key: str, default: float) -> float:
    """A number from 0 to 1 that the YAML file beside a model gives, or the default.

    Raises:
        ModelError: it is none.
    """
    value = said.get(key, default)
    if not _are_numbers([value], 1) or not 0 <= value <= 1:
        raise ModelError(f"{path.with_suffix('.yaml')}: {key} must be in [0, 1], not {value!r}")
    return float(value)


def _class_names(
    path: Path, family: Family, fit: Fit, signature: Signature, said: Mapping[str, Any]
) -> tuple[tuple[str, ...], str]:
    """The names by class index, and where they come from.

    Raises:
        ModelError: there are none, too many, or not as many as the graph has classes.
    """
    count = family.class_count(signature, fit.sizes)
    if "class_names" in said:
        names, source = names_listed(path, said["class_names"]), path.with_suffix(".yaml").name
    elif "names" in signature.metadata:  # as Ultralytics writes them: a Python literal
        try:
            names, source = names_listed(path, ast.literal_eval(signature.metadata["names"])), "the file's metadata"
        except (ValueError, SyntaxError) as error:
            raise ModelError(f"{path}: its metadata's names are no list: {signature.metadata['names']}") from error
    else:
        names = family.class_names(count)
        source = (
            "numbers, since the file names none" if names[:1] == ("class 0",) else "COCO, since the file names none"
        )
    missing = 0 if count is None else count - len(names)
    if not names or len(names) > MAX_CLASSES or not 0 <= missing <= family.may_lack_a_name:
        has = "" if count is None else f"; its graph has {count}"
        raise ModelError(f"{path}: {len(names)} class names ({source}) cannot be used{has}, from 1 to {MAX_CLASSES}")
    return names, source


def _stuff(
    path: Path, class_names: tuple[str, ...], signature: Signature, said: Mapping[str, Any]
) -> tuple[tuple[int, ...], str]:
    """The indices of the classes that are stuff, and who says so.

    Raises:
        ModelError: they are no classes of the model.
    """
    if "stuff_classes" in said:
        yaml_path = path.with_suffix(".yaml")
        return stuff_listed(yaml_path, said["stuff_classes"], class_names), yaml_path.name
    if "stuff_classes" in signature.metadata:  # a Python literal, as the names are
        try:
            listed = ast.literal_eval(signature.metadata["stuff_classes"])
        except (ValueError, SyntaxError) as error:
            raise ModelError(f"{path}: its metadata's stuff_classes are no list") from error
        return stuff_listed(path, listed, class_names), "the file's metadata"
    return stuff_by_names(class_names)


def names_listed(path: Path, value: object) -> tuple[str, ...]:
    """Class names from a list, or from a mapping of each index from 0 to its name.

    Raises:
        ModelError: they are none.
    """
    if isinstance(value, dict):
        if sorted(value, key=str) != sorted(range(len(value)), key=str):
            raise ModelError(f"{path}: class names must be numbered from 0 without gaps, not {list(value)[:10]}")
        value = [value[index] for index in range(len(value))]
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise ModelError(f"{path}: class names must be a list of texts, not {value!r}")
    return tuple(value)


def _digest_of_weights(path: Path, content: bytes) -> str:
    """Of the file with the weights that some exporters write beside the graph."""
    beside = path.with_name(f"{path.name}.data")
    if not beside.is_file() or beside.name.encode() not in content:
        return ""
    digest = hashlib.sha256()
    with beside.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
