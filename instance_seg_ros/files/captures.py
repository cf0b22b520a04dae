"""Captures on disk: one folder a frame with `color.png`, `depth.png` and `meta.json`, or the same as single files.

    color.png    8-bit, colour or grey, also rgb.png, or either as .jpg; may be absent
    depth.png    16-bit (or depth.tiff) in units of `depth_unit_m`, or depth.npy with floating-point metres
    labels.png   16-bit, 0 = background, otherwise the instance; may be absent
    meta.json    {"fx", "fy", "cx", "cy", "depth_unit_m"}, optionally "width", "height", "stamp_ns", "frame_id"

In depth, 0 or NaN is no measurement. Depth is registered to colour and the images have one size.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.depth import decode_depth
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.files.atomic import write_atomically
from instance_seg_ros.messages.image_files import decode_image_file

DEFAULT_DEPTH_UNIT_M = 0.001
"""Written and, where `meta.json` names none, taken for 16-bit depth: millimetres, as REP-118 has it."""
CAPTURE_FRAME_ID = "camera_color_optical_frame"
META_FILE, COLOR_FILE, LABELS_FILE = "meta.json", "color.png", "labels.png"
COLOR_NAMES = (COLOR_FILE, "color.jpg", "color.jpeg", "rgb.png", "rgb.jpg", "rgb.jpeg")
_CAMERA_KEYS = ("fx", "fy", "cx", "cy")
_MAX_PIXEL_RATIO = 3.0
"""Of fx to fy, which somebody typed: images are squeezed by two at most, those of a stereo camera side by side."""
_META_CURE = 'write {"fx": ..., "fy": ..., "cx": ..., "cy": ..., "depth_unit_m": 0.001}, as in K of the CameraInfo'


class CaptureError(InputError):
    """A capture cannot be used; the message names the file and the cause."""


@dataclass(frozen=True, eq=False)
class Capture:
    """A frame from disk.

    Attributes:
        name: of its folder or, of single files, of its colour or else its depth image; for messages.
        frame: the frame.
        labels: (H, W) uint16, 0 = background, otherwise the instance; None where the capture has none.
    """

    name: str
    frame: RgbdFrame
    labels: NDArray[np.uint16] | None = None


def capture_folders(path: Path) -> list[Path]:
    """The capture folders at `path`, sorted by name: itself when it is one, else those directly in it.

    Raises:
        CaptureError: when there is none.
    """
    if not path.is_dir():
        raise CaptureError(f"{path} is not a folder")
    if (path / META_FILE).is_file():
        return [path]
    folders = sorted(folder for folder in path.iterdir() if (folder / META_FILE).is_file())
    if not folders:
        raise CaptureError(f"{path} holds no capture: neither it nor a folder in it has a meta.json")
    return folders


def read_capture(folder: Path) -> Capture:
    """The capture in `folder`.

    Raises:
        CaptureError: naming the file and the cause.
    """
    depth_path = next(
        (folder / name for name in ("depth.png", "depth.tiff", "depth.npy") if (folder / name).is_file()), None
    )
    if depth_path is None:
        raise CaptureError(f"{folder} holds no depth.png, depth.tiff or depth.npy")
    color_paths = [folder / name for name in COLOR_NAMES if (folder / name).is_file()]
    if len(color_paths) > 1:
        raise CaptureError(
            f"{folder} holds {color_paths[0].name} and {color_paths[1].name}; keep the one that is meant"
        )
    labels_path = folder / LABELS_FILE
    return read_files(
        color_paths[0] if color_paths else None,
        depth_path,
        folder / META_FILE,
        labels_path if labels_path.is_file() else None,
        name=Path(os.path.abspath(folder)).name,  # "." has no name, and links to folders of one name have their own
    )


def read_files(
    color_path: Path | None, depth_path: Path, meta_path: Path, labels_path: Path | None = None, name: str | None = None
) -> Capture:
    """A capture from single files.

    Raises:
        CaptureError: naming the file and the cause.
    """
    meta = _read_meta(meta_path)
    depth_m = _read_depth(depth_path, meta, meta_path)
    color_rgb = None if color_path is None else _read_color(color_path)
    labels = None if labels_path is None else _read_labels(labels_path)
    height, width = depth_m.shape
    for path, image in ((color_path, color_rgb), (labels_path, labels)):
        if image is not None and image.shape[:2] != (height, width):
            raise CaptureError(
                f"{path} is {image.shape[1]}x{image.shape[0]} but {depth_path} is {width}x{height}; "
                "depth must be registered to colour"
            )
    named_size = meta.get("width", width), meta.get("height", height)
    if named_size != (width, height):
        raise CaptureError(f"{meta_path} names {named_size[0]}x{named_size[1]} but {depth_path} is {width}x{height}")
    try:
        intrinsics = Intrinsics(width, height, *(float(meta[key]) for key in _CAMERA_KEYS))
    except ValueError as error:
        raise CaptureError(f"{meta_path}: {error}") from error
    if not 1 / _MAX_PIXEL_RATIO <= intrinsics.fx / intrinsics.fy <= _MAX_PIXEL_RATIO:
        raise CaptureError(f"{meta_path}: fx {intrinsics.fx:g} and fy {intrinsics.fy:g} must be nearly equal")
    if intrinsics.doubt and not ("width" in meta and "height" in meta):
        cure = "If the image was cropped, name its width and height there as well"
        raise CaptureError(f"{meta_path}: {intrinsics.doubt} {cure}")
    frame = RgbdFrame(
        color_rgb, depth_m, intrinsics, int(meta.get("stamp_ns", 0)), str(meta.get("frame_id", CAPTURE_FRAME_ID))
    )
    return Capture(name or (color_path or depth_path).name, frame, labels)


def write_capture(
    folder: Path,
    frame: RgbdFrame,
    labels: NDArray[np.uint16] | None = None,
    *,
    depth_unit_m: float = DEFAULT_DEPTH_UNIT_M,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes a frame as a capture that `read_capture` reads, in place of one that is in the folder already.

    Args:
        labels: (H, W) values of the label image, 0 = background.
        depth_unit_m: depth is rounded to this; what does not fit into 16 bits is written as no measurement.
        extra: further keys of its meta.json.

    Raises:
        OSError: the folder or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (META_FILE, *COLOR_NAMES, LABELS_FILE):  # what this frame lacks must not be taken from another one
        (folder / name).unlink(missing_ok=True)
    units = np.rint(frame.depth_m / depth_unit_m)
    depth = np.where(units <= np.iinfo(np.uint16).max, units, 0).astype(np.uint16)
    write_image(folder / "depth.png", depth)
    if frame.color_rgb is not None:
        write_image(folder / COLOR_FILE, cv2.cvtColor(frame.color_rgb, cv2.COLOR_RGB2BGR))
    if labels is not None:
        write_image(folder / LABELS_FILE, labels.astype(np.uint16))
    camera = frame.intrinsics
    meta = {
        "width": camera.width,
        "height": camera.height,
        **{key: getattr(camera, key) for key in _CAMERA_KEYS},
        "depth_unit_m": depth_unit_m,
        "stamp_ns": frame.stamp_ns,
        "frame_id": frame.frame_id,
        **(extra or {}),
    }
    # Last, because a folder with a meta.json counts as a whole capture.
    write_atomically(folder / META_FILE, (json.dumps(meta, indent=1) + "\n").encode())


def write_image(path: Path, image: NDArray[Any]) -> None:
    """Writes an image (H, W[, C]) in OpenCV's channel order in the format of the suffix, whole or not at all.

    Raises:
        ValueError: the format cannot hold such an image.
        OSError: the file cannot be written.
    """
    written, content = cv2.imencode(path.suffix, image)
    if not written:
        raise ValueError(f"an image {image.dtype} {image.shape} cannot be written as {path.suffix}")
    write_atomically(path, content.tobytes())


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(_read_bytes(path))
    except ValueError as error:
        raise CaptureError(f"{path} is not valid JSON: {error}; {_META_CURE}") from error
    if not isinstance(meta, dict):
        raise CaptureError(f"{path} holds no JSON object; {_META_CURE}")
    missing = [key for key in _CAMERA_KEYS if key not in meta]
    if missing:
        raise CaptureError(f"{path} lacks {', '.join(missing)}; {_META_CURE}")
    for key in (*_CAMERA_KEYS, "depth_unit_m", "width", "height", "stamp_ns"):
        value = meta.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
            raise CaptureError(f"{path}: {key} must be a number, not {value!r}")
    return meta


def _read_depth(path: Path, meta: Mapping[str, Any], meta_path: Path) -> NDArray[np.float32]:
    if path.suffix == ".npy":
        raw, unit_m = _read_array(path), None
        if raw.dtype.kind != "f":
            raise CaptureError(f"{path} must hold floating-point metres, not {raw.dtype}")
    else:
        raw, unit_m = _read_image(path, cv2.IMREAD_UNCHANGED), meta.get("depth_unit_m", DEFAULT_DEPTH_UNIT_M)
        if raw.dtype != np.uint16:
            raise CaptureError(f"{path} has pixels of type {raw.dtype}; depth must be a 16-bit image or .npy metres")
        if unit_m <= 0:
            raise CaptureError(f"{meta_path}: depth_unit_m must be above 0 (0.001 for millimetres), not {unit_m}")
    if raw.ndim != 2 or raw.size == 0:
        raise CaptureError(f"{path} must have one channel and at least one pixel, not the shape {raw.shape}")
    try:
        return decode_depth(raw, unit_m)
    except ValueError as error:
        raise CaptureError(f"{path}: {error}") from error


def _read_color(path: Path) -> NDArray[np.uint8]:
    image = _read_image(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _read_labels(path: Path) -> NDArray[np.uint16]:
    labels = _read_image(path, cv2.IMREAD_UNCHANGED)
    if labels.ndim != 2 or labels.dtype not in (np.uint8, np.uint16):
        raise CaptureError(f"{path} must have one channel of 8 or 16 bits, not {labels.dtype} {labels.shape}")
    return labels.astype(np.uint16)


def _read_image(path: Path, flags: int) -> NDArray[Any]:
    content = _read_bytes(path)
    try:
        return decode_image_file(content, flags)
    except ValueError as error:
        raise CaptureError(f"{path} cannot be decoded: {error}") from error


def _read_array(path: Path) -> NDArray[Any]:
    _require_file(path)
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise CaptureError(f"{path} is no .npy array: {error}") from error


def _read_bytes(path: Path) -> bytes:
    _require_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise CaptureError(f"cannot read {path}: {error.strerror}") from error


def _require_file(path: Path) -> None:
    if not path.exists():
        raise CaptureError(f"{path} does not exist")
    if not path.is_file():
        raise CaptureError(f"{path} is not a file")
