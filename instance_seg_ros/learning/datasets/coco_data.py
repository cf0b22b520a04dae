"""Reads a data set in COCO's instance format (Lin et al., ECCV 2014): one JSON file and a folder of images.

    instances.json   {"images": [{"id", "file_name", "width", "height"}], "categories": [{"id", "name", "isthing"}],
                     "annotations": [{"id", "image_id", "category_id", "segmentation", "iscrowd", "bbox"}]}
    images/          PNG or JPEG files, by `file_name`
    depth/           optional: 16-bit PNG files of the same size, registered to the images, of the same name with the
                     suffix .png

An image may name its camera by the keys "fx", "fy", "cx" and "cy", in pixels. Everything is checked when it is read:
what cannot be used is left out and listed, and where a box says where it was, its pixels count neither as object nor as
background. So do those of `iscrowd` annotations. Categories with `isthing` 0, as panopticapi writes them, are stuff:
background to training, and a class of its pixels to evaluation.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.instances import NO_STUFF
from instance_seg_ros.files.captures import DEFAULT_DEPTH_UNIT_M
from instance_seg_ros.learning.datasets.coco_masks import Rle, area_px, decode_mask, encode_box, encode_segmentation
from instance_seg_ros.learning.datasets.image_header import DEPTH_KIND, ImageHeader, read_image_header

AGNOSTIC_CLASS_NAMES = ("object",)
IGNORED_LABEL = 255
MAX_LABELS = 254
DEFAULT_FOCAL_SHARE = 0.85
"""Focal length of a camera that nobody names, as a share of the image's width: 61 degrees, as RGB-D cameras have."""

_SIZE_KEEPING_ORIENTATIONS = (2, 3, 4)
"""EXIF's orientations mirrored, turned by 180 degrees, and both: the others exchange width and height."""
_CAMERA_KEYS = ("fx", "fy", "cx", "cy")


class CocoError(InputError):
    """The data set cannot be used; the message names the file and the cause."""


@dataclass(frozen=True)
class CocoFiles:
    """Where a data set is, and how to read it.

    Attributes:
        instances: the JSON file.
        images: folder that `file_name` is relative to.
        depth: folder of the depth images; None where there are none.
        depth_unit_m: metres per unit of the depth images.
        intrinsics: fx, fy, cx, cy in pixels, for images that name none.
        class_agnostic: take all categories for one class, "object".

    Raises:
        ValueError: the unit is not positive.
    """

    instances: Path
    images: Path
    depth: Path | None = None
    depth_unit_m: float = DEFAULT_DEPTH_UNIT_M
    intrinsics: tuple[float, float, float, float] | None = None
    class_agnostic: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.depth_unit_m) and self.depth_unit_m > 0):
            raise ValueError(f"depth_unit_m must be above 0 (0.001 for millimetres), not {self.depth_unit_m}")


@dataclass(frozen=True)
class CocoRegion:
    """A mask and what it is.

    Attributes:
        rle: of the image's size.
        area_px: pixels in it.
        class_index: contiguous from 0; None for pixels that count neither as object nor as background.
    """

    rle: Rle
    area_px: int
    class_index: int | None


@dataclass(frozen=True)
class CocoImage:
    """An image that exists, its camera and its regions.

    Attributes:
        color_path: of the image.
        depth_path: of its depth; None where it has none.
        camera: size in pixels and intrinsics.
        regions: in the order in which they are painted: ignored ones first, then larger before smaller ones.
        stuff: what has no countable objects, in the same order; none where all classes are one.
    """

    color_path: Path
    depth_path: Path | None
    camera: Intrinsics
    regions: tuple[CocoRegion, ...]
    stuff: tuple[CocoRegion, ...] = ()


@dataclass(frozen=True)
class CocoData:
    """What was read, and what was left out.

    Attributes:
        images: usable ones, in the order of the file.
        class_names: by class index.
        skipped_images, skipped_annotations: one line each, naming file or annotation and cause.
        without_depth: images that lack the depth that a folder was given for.
        assumed_cameras: images whose camera nobody named.
    """

    images: tuple[CocoImage, ...]
    class_names: tuple[str, ...]
    skipped_images: tuple[str, ...]
    skipped_annotations: tuple[str, ...]
    without_depth: int
    assumed_cameras: int

    def summary(self) -> str:
        """What was read: one line of counts, and a line for everything else that the user should know."""
        regions = [region for image in self.images for region in image.regions]
        ignored = sum(region.class_index is None for region in regions)
        lines = [
            f"{len(self.images)} images, {len(regions) - ignored} instances of {len(self.class_names)} classes, "
            f"{ignored} ignored regions"
        ]
        for name, skipped in (("images", self.skipped_images), ("annotations", self.skipped_annotations)):
            if skipped:
                lines.append(f"left out {len(skipped)} {name}, the first one: {skipped[0]}")
        if self.without_depth:
            lines.append(f"{self.without_depth} images have no depth")
        if self.assumed_cameras:
            lines.append(
                f"the camera of {self.assumed_cameras} images is not known: took a focal length of "
                f"{DEFAULT_FOCAL_SHARE} times the width; name it by --intrinsics or by fx, fy, cx, cy of each image"
            )
        return "\n".join(lines)


def read_coco(files: CocoFiles, progress: bool = False) -> CocoData:
    """Reads and checks a data set.

    Args:
        files: where it is.
        progress: show a progress bar.

    Raises:
        CocoError: the JSON file is not one of COCO instances, no image can be used, or none has depth in the folder
            named for it.
    """
    content = _read_json(files.instances)
    categories = _used_categories(content)
    class_of_category, class_names = _classes(categories, files)
    stuff_categories = [category["id"] for category in categories if category.get("isthing") == 0]
    annotations, orphans = _annotations_by_image(content, files.instances)
    found = _found_names(content, files)
    shared = {name for name, count in Counter(found.values()).items() if count > 1}
    images: list[CocoImage] = []
    skipped_images: list[str] = []
    skipped_annotations: list[str] = list(orphans)
    assumed = 0
    for entry in tqdm(content["images"], unit="image", desc="reading", disable=not progress, mininterval=1.0):
        try:
            name = _own_name(entry, found, shared, files)
            color_path, camera, named = _checked_image(entry, name, files)
            depth_path = _checked_depth(name, camera, files)
        except ValueError as error:
            skipped_images.append(str(error))
            continue
        assumed += not named
        things: list[dict[str, Any]] = []
        stuff: list[dict[str, Any]] = []
        for annotation in annotations[entry["id"]]:
            (stuff if annotation.get("category_id") in stuff_categories else things).append(annotation)
        regions, surfaces = (
            _regions(some, camera, class_of_category, color_path, skipped_annotations) for some in (things, stuff)
        )
        images.append(CocoImage(color_path, depth_path, camera, regions, () if files.class_agnostic else surfaces))
    if not images:
        cause = f"; the first one: {skipped_images[0]}" if skipped_images else ""
        raise CocoError(f"{files.instances}: none of {len(content['images'])} images can be used{cause}")
    if files.depth is not None and all(image.depth_path is None for image in images):
        name = images[0].color_path.with_suffix(".png").name
        raise CocoError(f"{files.depth} holds no depth of any image; that of {images[0].color_path} is to be {name}")
    return CocoData(
        images=tuple(images),
        class_names=class_names,
        skipped_images=tuple(skipped_images),
        skipped_annotations=tuple(skipped_annotations),
        without_depth=0 if files.depth is None else sum(image.depth_path is None for image in images),
        assumed_cameras=assumed,
    )


def label_image(image: CocoImage) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The regions of an image painted over each other; a pixel of several belongs to the smallest.

    Returns:
        (H, W) uint8: 0 background, 1..N instances, 255 ignored; and (N,) int64, the class of each instance.
    """
    labels = np.zeros((image.camera.height, image.camera.width), dtype=np.uint8)
    classes: list[int] = []
    for region in image.regions:
        if region.class_index is not None:
            classes.append(region.class_index)
        labels[decode_mask(region.rle)] = IGNORED_LABEL if region.class_index is None else len(classes)
    return labels, np.array(classes, dtype=np.int64)


def stuff_image(image: CocoImage) -> NDArray[np.int32]:
    """(H, W): the class of stuff at each pixel, of the smallest region that has it, NO_STUFF where there is none."""
    classes = np.full((image.camera.height, image.camera.width), NO_STUFF, dtype=np.int32)
    for region in image.stuff:
        if region.class_index is not None:
            classes[decode_mask(region.rle)] = region.class_index
    return classes


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise CocoError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise CocoError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise CocoError(f"{path} must hold an object, not {type(content).__name__}")
    for key in ("images", "annotations", "categories"):
        entries = content.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise CocoError(f'{path} must hold a list of objects "{key}"; is it an export of COCO instances?')
    if not content["images"] or not content["categories"]:
        raise CocoError(f"{path} names no image or no category")
    for key in ("images", "categories"):
        _check_ids(content[key], key, path)
    return content


def _check_ids(entries: list[dict[str, Any]], what: str, path: Path) -> None:
    seen = set()
    for entry in entries:
        identifier = entry.get("id")
        if not isinstance(identifier, (int, str)):
            raise CocoError(f"{path}: the id {identifier!r} of an entry of {what} is neither a number nor a text")
        if identifier in seen:
            raise CocoError(f"{path}: two entries of {what} have the id {identifier!r}")
        seen.add(identifier)


def _used_categories(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The categories without those that only stand above others: unused, and named by another one.

    Roboflow writes such a root, which may have the name of a class.
    """
    categories = content["categories"]
    used = {annotation["category_id"] for annotation in content["annotations"] if _is_id(annotation, "category_id")}

    def stands_above(category: dict[str, Any]) -> bool:
        others = (other for other in categories if other is not category)
        return any(category.get("name") == other.get("supercategory") for other in others)

    return [category for category in categories if category["id"] in used or not stands_above(category)]


def _is_id(entry: dict[str, Any], key: str) -> bool:
    return isinstance(entry.get(key), (int, str))


def _classes(
    categories: list[dict[str, Any]], files: CocoFiles
) -> tuple[Callable[[object], int | None], tuple[str, ...]]:
    """Category id to class index (None for an unknown one), and the class names."""
    names: dict[int | str, str] = {}
    for category in categories:
        name = category.get("name")
        if not isinstance(name, str) or not name.strip():
            raise CocoError(f"{files.instances}: category {category['id']!r} has the name {name!r}")
        if name in names.values():
            raise CocoError(f"{files.instances}: two categories are named {name!r}")
        names[category["id"]] = name
    order = sorted(names, key=lambda identifier: (isinstance(identifier, str), identifier))
    indices = {identifier: 0 if files.class_agnostic else index for index, identifier in enumerate(order)}
    class_names = AGNOSTIC_CLASS_NAMES if files.class_agnostic else tuple(names[identifier] for identifier in order)
    return partial(_look_up, indices), class_names


def _look_up(indices: dict[int | str, int], identifier: object) -> int | None:
    return indices.get(identifier) if isinstance(identifier, (int, str)) else None


def _annotations_by_image(
    content: dict[str, Any], path: Path
) -> tuple[defaultdict[int | str, list[dict[str, Any]]], list[str]]:
    """The annotations of each image, and a line for each one whose image is not in the file."""
    images = {image["id"] for image in content["images"]}
    by_image: defaultdict[int | str, list[dict[str, Any]]] = defaultdict(list)
    orphans = []
    for annotation in content["annotations"]:
        owner = annotation.get("image_id")
        if isinstance(owner, (int, str)) and owner in images:
            by_image[owner].append(annotation)
        else:
            orphans.append(f"{path}: annotation {annotation.get('id')!r}: there is no image {owner!r}")
    return by_image, orphans


def _found_names(content: dict[str, Any], files: CocoFiles) -> dict[int | str, str]:
    """The file of each image that names one, by the image's id, relative to the folder of images where it is in it."""
    named = ((entry["id"], entry.get("file_name")) for entry in content["images"])
    found = {identifier: found_name(name, files.images) for identifier, name in named if isinstance(name, str) and name}
    return {identifier: _plain(name, files.images) for identifier, name in found.items()}


def _plain(name: str, folder: Path) -> str:
    """The one name that a file has in a folder: not `./cup.jpg`, `sub/../cup.jpg` or the whole path."""
    path, inside = Path(os.path.normpath(folder / name)), Path(os.path.normpath(folder))
    # `..` of a folder that is a link leads elsewhere.
    is_it = path.is_relative_to(inside) and os.path.realpath(path) == os.path.realpath(folder / name)
    return path.relative_to(inside).as_posix() if is_it else name


def _own_name(entry: dict[str, Any], found: dict[int | str, str], shared: set[str], files: CocoFiles) -> str:
    """The file of an image; ValueError where it names none, or one that is that of another image, too."""
    name = found.get(entry["id"])
    if name is None:
        raise ValueError(f"{files.instances}: image {entry['id']!r} has the file_name {entry.get('file_name')!r}")
    if name in shared:
        others = [identifier for identifier, other in found.items() if other == name and identifier != entry["id"]]
        raise ValueError(
            f"{files.images / name} is taken for image {entry['id']!r} ({entry['file_name']}) and for {others[0]!r} of "
            f"{files.instances}: each would lack the other's annotations"
        )
    return name


def _checked_image(entry: dict[str, Any], found: str, files: CocoFiles) -> tuple[Path, Intrinsics, bool]:
    """Path and camera of an image, and whether somebody named that camera; ValueError says why it cannot be used."""
    width, height = _whole(entry.get("width")), _whole(entry.get("height"))
    if width is None or height is None:
        size = f"{entry.get('width')!r} x {entry.get('height')!r}"
        raise ValueError(f"{files.instances}: image {entry['id']!r} is of size {size}")
    path = files.images / found
    header = _header(path)
    if (header.width, header.height) != (width, height):
        turned = (header.height, header.width) == (width, height)
        cure = "; it is stored turned, so save it without its orientation tag" if turned else ""
        raise ValueError(f"{path} is {header.width}x{header.height}, but the annotations say {width}x{height}{cure}")
    if header.kind == DEPTH_KIND:
        raise ValueError(f"{path} is {header.kind}, as depth is; images are of 8 bits")
    if header.orientation in _SIZE_KEEPING_ORIENTATIONS or (header.orientation != 1 and width == height):
        raise ValueError(
            f"{path} has the orientation tag {header.orientation}, and it is not known whether its annotations are for "
            "the image as it is stored or as it is shown; save it without the tag"
        )
    named = [entry.get(key) for key in _CAMERA_KEYS]
    if all(value is None for value in named):
        if files.intrinsics is None:
            focal = DEFAULT_FOCAL_SHARE * width
            return path, Intrinsics(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2), False
        named = list(files.intrinsics)
        if not Intrinsics(width, height, *files.intrinsics).fits_size:
            raise ValueError(
                f"{path}: the camera of --intrinsics does not look through the middle of an image of {width}x{height}; "
                "it is of another resolution"
            )
    if not all(isinstance(value, (int, float)) for value in named):
        raise ValueError(f"{path}: its camera has fx, fy, cx, cy {named}")
    try:
        return path, Intrinsics(width, height, *(float(value) for value in named)), True  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _whole(value: Any) -> int | None:
    """A number of pixels, also one written as 320.0; None for anything else."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return int(value) if is_number and math.isfinite(value) and value == int(value) else None


def found_name(name: str, folder: Path) -> str:
    """The name of a file in a folder as some tool may have written it; the name itself where no such file is.

    Tools write backslashes, `%20`, the name of the folder in front, and Label Studio what it had when the image was
    uploaded: `/data/upload/1/0a1b2c3d-cup.jpg` or `../../label-studio/media/upload/1/0a1b2c3d-cup.jpg` for cup.jpg,
    `/data/local-files/?d=sub/cup.jpg` for sub/cup.jpg. Of what an upload was called as much is kept as leads to a file.
    """
    slashed = name.replace("\\", "/")
    plain = [name, slashed, unquote(slashed).replace("\\", "/")]
    served = [tail for text in plain for tail in _served_names(text)]
    below = [text.removeprefix("./").lstrip("/").removeprefix(f"{folder.name}/") for text in (*plain, *served)]
    without_prefix = [re.sub(r"(^|/)[0-9a-f]{8}-([^/]+)$", r"\1\2", text) for text in below]
    candidates = dict.fromkeys([*plain, *below, *without_prefix])
    return next((text for text in candidates if text and (folder / text).is_file()), name)


def _served_names(name: str) -> list[str]:
    """Where what Label Studio served may lie, the most telling first: uploads of one name differ by their number."""
    if "?d=" in name:
        return [name.partition("?d=")[2]]
    upload = re.search(r"(?:^|/)upload/(\d+)/(.+)$", name)
    return [f"upload/{upload[1]}/{upload[2]}", f"{upload[1]}/{upload[2]}", upload[2]] if upload else []


def _checked_depth(found: str, camera: Intrinsics, files: CocoFiles) -> Path | None:
    """Path of the image's depth; None where it has none; ValueError for one that cannot be used."""
    if files.depth is None:
        return None
    path = files.depth / Path(found).with_suffix(".png")
    if not path.is_file():
        return None
    header = _header(path)
    if (header.width, header.height) != (camera.width, camera.height):
        raise ValueError(
            f"{path} is {header.width}x{header.height}, but its image is {camera.width}x{camera.height}; depth must be "
            "registered to colour"
        )
    if header.kind != DEPTH_KIND:
        raise ValueError(f"{path} is {header.kind}; depth is one channel of 16 bits")
    return path


def _header(path: Path) -> ImageHeader:
    try:
        return read_image_header(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from error


def _regions(
    annotations: list[dict[str, Any]],
    camera: Intrinsics,
    class_of_category: Callable[[object], int | None],
    image_path: Path,
    skipped: list[str],
) -> tuple[CocoRegion, ...]:
    """The regions of an image in the order of painting; what cannot be used is added to `skipped`."""
    size_hw = (camera.height, camera.width)
    ignored: list[CocoRegion] = []
    instances: list[CocoRegion] = []
    for annotation in annotations:
        try:
            class_index = class_of_category(annotation.get("category_id"))
            if class_index is None:
                raise ValueError(f"there is no category {annotation.get('category_id')!r}")
            stray: list[str] = []
            rle = encode_segmentation(annotation.get("segmentation"), size_hw, stray)
            skipped += [f"{image_path}: annotation {annotation.get('id')!r}, in part: {cause}" for cause in stray]
        except ValueError as error:
            skipped.append(f"{image_path}: annotation {annotation.get('id')!r}: {error}")
            ignored += _box_region(annotation, size_hw)
            continue
        crowd = bool(annotation.get("iscrowd", 0))
        region = CocoRegion(rle, area_px(rle), None if crowd else class_index)
        (ignored if crowd else instances).append(region)
    instances.sort(key=lambda region: -region.area_px)
    if len(instances) > MAX_LABELS:
        surplus = instances[MAX_LABELS:]
        skipped += [f"{image_path}: more than {MAX_LABELS} instances; a small one is ignored" for _ in surplus]
        ignored += [CocoRegion(region.rle, region.area_px, None) for region in surplus]
    return (*ignored, *instances[:MAX_LABELS])


def _box_region(annotation: dict[str, Any], size_hw: tuple[int, int]) -> list[CocoRegion]:
    """Where an annotation without a usable mask was, if its box can tell."""
    try:
        rle = encode_box(annotation.get("bbox"), size_hw)
    except ValueError:  # the annotation is in the list of what was left out already
        return []
    return [CocoRegion(rle, area_px(rle), None)]
