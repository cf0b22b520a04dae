"""Which classes of a panoptic model are stuff: what has no countable objects, such as walls and floors.

Nobody may grasp it, so that a model that does not say it is recognised by the classes of the data set that it was
trained on (Kirillov et al., *Panoptic Segmentation*, CVPR 2019; Cordts et al., *Cityscapes*, CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instance_seg_ros.core.instances import MAX_STUFF_CLASS_ID
from instance_seg_ros.segmentation.model_file import ModelError, ModelInfo

COCO_STUFF = frozenset(
    (
        *("banner", "blanket", "bridge", "cardboard", "counter", "curtain", "door-stuff", "floor-wood", "flower"),
        *("fruit", "gravel", "house", "light", "mirror-stuff", "net", "pillow", "platform", "playingfield", "railroad"),
        *("river", "road", "roof", "sand", "sea", "shelf", "snow", "stairs", "tent", "towel", "wall-brick"),
        *("wall-stone", "wall-tile", "wall-wood", "water-other", "window-blind", "window-other", "tree-merged"),
        *("fence-merged", "ceiling-merged", "sky-other-merged", "cabinet-merged", "table-merged"),
        *("floor-other-merged", "pavement-merged", "mountain-merged", "grass-merged", "dirt-merged", "paper-merged"),
        *("food-other-merged", "building-other-merged", "rock-merged", "wall-other-merged", "rug-merged"),
    )
)
CITYSCAPES_STUFF = frozenset(
    (
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
        *("terrain", "sky"),
    )
)
_DATA_SETS = {"COCO's": COCO_STUFF, "Cityscapes'": CITYSCAPES_STUFF}
_HARDLY_OBJECTS = ("wall", "floor", "ceiling", "sky")
_BY_ID = ("label_ids_to_fuse", "stuff_classes")
"""Arguments of transformers' panoptic post-processing."""


def stuff_by_names(class_names: Sequence[str]) -> tuple[tuple[int, ...], str]:
    """The indices of stuff among the classes of a known panoptic data set, and whose; none for other classes."""
    for source, stuff in _DATA_SETS.items():
        if stuff <= set(class_names):
            return tuple(index for index, name in enumerate(class_names) if name in stuff), f"{source} panoptic classes"
    return (), ""


def walls_among_objects(info: ModelInfo) -> str:
    """What to say of classes that count as objects and hardly are, as of ADE20K, whose models may not say so.

    Empty where there are none, or where it is told which classes are stuff.
    """
    names = [
        name
        for index, name in enumerate(info.class_names)
        # Of two models one may have said so, and the other have said nothing.
        if index not in info.stuff_class_ids and name.split(",")[0].strip().lower() in _HARDLY_OBJECTS
    ]
    if info.stuff_is_told or not names:
        return ""
    return (
        f"the model {info.name} finds each {' and '.join(names)} as an object to grasp; of a panoptic model from "
        "elsewhere stuff_classes in the YAML beside its file or label_ids_to_fuse in its folder's config.json say that "
        "they are none"
    )


def stuff_listed(path: Path, names: object, class_names: Sequence[str]) -> tuple[int, ...]:
    """The indices of stuff that is listed by name.

    Args:
        path: of the file that lists it, for messages.

    Raises:
        ModelError: it is no list of the model's class names.
    """
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ModelError(f"{path}: stuff_classes must be a list of class names, not {names!r}")
    unknown = [name for name in names if name not in class_names]
    if unknown:
        raise ModelError(f"{path}: stuff_classes has {unknown[0]!r}, which is no class of the model")
    return _usable(path, [index for index, name in enumerate(class_names) if name in names])


def stuff_of_folder(
    path: Path, config: Mapping[str, Any], processing: Mapping[str, Any], class_names: Sequence[str]
) -> tuple[tuple[int, ...], str]:
    """The indices of stuff of a model of transformers, and who says so.

    Args:
        path: of the folder, for messages.
        config: of config.json; it or `processing` may have `label_ids_to_fuse` or `stuff_classes`, as transformers'
            post-processing calls the indices.
        processing: of preprocessor_config.json; OneFormer's has `metadata` with `thing_ids`.

    Raises:
        ModelError: they are no indices of classes.
    """
    for name, facts in (("config.json", config), ("preprocessor_config.json", processing)):
        for key in _BY_ID:
            if key in facts:
                return _usable(path / name, _ids(path / name, key, facts[key], len(class_names))), f"{key} of {name}"
    metadata = processing.get("metadata")
    if isinstance(metadata, Mapping) and "thing_ids" in metadata:
        where = path / "preprocessor_config.json"
        things = _ids(where, "thing_ids", metadata["thing_ids"], len(class_names))
        stuff = sorted(set(range(len(class_names))) - set(things))
        return _usable(where, stuff), "thing_ids of preprocessor_config.json"
    return stuff_by_names(class_names)


def _ids(path: Path, key: str, value: object, count: int) -> list[int]:
    if not isinstance(value, list) or not all(type(index) is int and 0 <= index < count for index in value):
        raise ModelError(f"{path}: {key} must list class indices from 0 to {count - 1}, not {value!r}")
    return sorted(set(value))


def _usable(path: Path, ids: Sequence[int]) -> tuple[int, ...]:
    if ids and max(ids) > MAX_STUFF_CLASS_ID:
        raise ModelError(f"{path}: class {max(ids)} is stuff, which the panoptic image numbers to {MAX_STUFF_CLASS_ID}")
    return tuple(ids)
