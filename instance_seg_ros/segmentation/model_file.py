"""The model file: one ONNX file that describes itself; read and verified here without any runtime.

The facts lie in the file's `metadata_props` as strings. The digest covers every other byte of the file's top level, so
a file that was cut short, damaged or edited is recognised, and so are two files of the same network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.instances import MAX_STUFF_CLASS_ID
from instance_seg_ros.segmentation import protobuf
from instance_seg_ros.segmentation.score_calibration import UNCHANGED, ScoreCalibration

FORMAT = "instance_seg_ros/1"
SHIPPED_MODEL = "tabletop_rgbd.onnx"
_IN_8_BITS = "_int8"
QUANTISED_FROM_KEY = "quantised_from"
CALIBRATION_KEY = "score_calibration"
NETWORK_KEY = "network"
MASK_HEAD_KEY = "mask_head"
MAX_CLASSES = 65_535
"""The messages number them in 16 bits."""

# Of the ONNX protobuf schema: ModelProto.metadata_props, and key and value of StringStringEntryProto.
_METADATA_FIELD = 14
_KEY_FIELD, _VALUE_FIELD = 1, 2
_ZIP = b"PK\x03\x04"
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_REQUIRED_KEYS = ("format", "name", "version", "class_names", "score_threshold", "mask_threshold", "digest")


class ModelError(InputError):
    """The model file cannot be used; the message names the file, the cause and the cure."""


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says of itself.

    Attributes:
        name, version: of the model.
        class_names: by class index.
        score_threshold: instances below it are better left out; chosen when the model was evaluated.
        mask_threshold: a pixel belongs to the instance above this value of its mask, which is a probability, or a
            logit for exported models of other projects.
        digest: sha256 of the file without its metadata, hexadecimal.
        quantised_from: for a file in 8 bits, the digest of the float one that it was made from; otherwise empty.
        needs_color: whether it sees nothing without the colour image.
        calibration: of the network's scores to those that are published, which `score_threshold` is one of.
        stuff_class_ids: the classes of a panoptic model that have no countable objects, such as walls.
        stuff_is_told: whether the model or who brings it says which these are, be it none.
    """

    name: str
    version: str
    class_names: tuple[str, ...]
    score_threshold: float
    mask_threshold: float
    digest: str
    quantised_from: str = ""
    needs_color: bool = False
    calibration: ScoreCalibration = UNCHANGED
    stuff_class_ids: tuple[int, ...] = ()
    stuff_is_told: bool = False


def joined_info(infos: Sequence[ModelInfo]) -> ModelInfo:
    """One model's own facts; of two, names and digest of both, and the classes of either.

    Raises:
        ModelError: there is stuff among the classes of both that the panoptic image cannot number.
    """
    if len(infos) == 1:
        return infos[0]
    class_names = tuple(dict.fromkeys(name for info in infos for name in info.class_names))
    stuff = {info.class_names[class_id] for info in infos for class_id in info.stuff_class_ids}
    stuff_class_ids = tuple(index for index, name in enumerate(class_names) if name in stuff)
    if stuff_class_ids and stuff_class_ids[-1] > MAX_STUFF_CLASS_ID:
        raise ModelError(
            f"{' and '.join(info.name for info in infos)}: of their classes together number {stuff_class_ids[-1]} is "
            f"stuff, which the panoptic image numbers to {MAX_STUFF_CLASS_ID}"
        )
    return replace(
        infos[0],
        name=" + ".join(info.name for info in infos),
        version=" + ".join(info.version for info in infos),
        class_names=class_names,
        stuff_class_ids=stuff_class_ids,
        stuff_is_told=all(info.stuff_is_told for info in infos),
        digest=hashlib.sha256(" ".join(info.digest for info in infos).encode()).hexdigest(),
        needs_color=any(info.needs_color for info in infos),
    )


def shipped_models() -> dict[str, Path]:
    """The files that are shipped, by the names that users give; those in 8 bits are found beside them."""
    folder = Path(str(resources.files("instance_seg_ros") / "segmentation" / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.onnx")) if not path.stem.endswith(_IN_8_BITS)}


def default_model_path() -> Path:
    """The shipped model that is taken where none is named."""
    return Path(str(resources.files("instance_seg_ros") / "segmentation" / "weights" / SHIPPED_MODEL))


def path_in_8_bits(path: Path) -> Path:
    """Where the 8-bit form of a model file lies, if it has one: beside it."""
    return path.with_name(f"{path.stem}{_IN_8_BITS}{path.suffix}")


def is_in_8_bits(path: Path) -> bool:
    """Whether a file says that it is in 8 bits; False for one that cannot be read, which loading it will report."""
    try:
        return QUANTISED_FROM_KEY in read_metadata(path.read_bytes())
    except (OSError, ValueError):
        return False


def read_model_info(path: Path) -> ModelInfo:
    """What the file at `path` says of itself, after its digest was checked.

    Raises:
        ModelError: when the file is missing, cut short, damaged or was not made by this project's export.
    """
    content = read_content(path)
    try:
        metadata = read_metadata(content)
    except ValueError as error:
        raise ModelError(f"{path} is no ONNX file or was cut short ({error}); copy or export it again") from error
    missing = [key for key in _REQUIRED_KEYS if key not in metadata]
    if missing or metadata["format"] != FORMAT:
        found = f"it lacks {', '.join(missing)}" if missing else f"its format is {metadata['format']!r}"
        raise ModelError(
            f"{path} is not a model of this project ({found}; wanted {FORMAT!r}); use `instance-seg export`, or see "
            "`instance-seg models inspect`, which knows those of other projects, too"
        )
    digest = graph_digest(content)
    if digest != metadata["digest"]:
        raise ModelError(
            f"{path} is damaged: its digest is {digest[:12]} but it was exported as {metadata['digest'][:12]}; "
            "copy or export it again"
        )
    try:
        return _parse(metadata)
    except (ValueError, TypeError) as error:
        raise ModelError(f"the metadata of {path} cannot be used: {error}") from error


def read_content(path: Path) -> bytes:
    """The bytes of a model file.

    Raises:
        ModelError: it is missing, or something that is known not to be one.
    """
    try:
        content = path.read_bytes()
    except IsADirectoryError as error:
        raise ModelError(
            f"{path} is a folder and no model file; `instance-seg models inspect {path}` tells of it"
        ) from error
    except OSError as error:
        names = f"; the shipped ones are {', '.join(shipped_models())}" if isinstance(error, FileNotFoundError) else ""
        raise ModelError(f"cannot read the model file {path}: {error.strerror}{names}") from error
    if content.startswith(_ZIP):  # as PyTorch saves checkpoints
        raise ModelError(
            f"{path} is a checkpoint and no model file; `instance-seg export --checkpoint {path} --out MODEL.onnx` "
            "makes one of what `instance-seg train` or `import-weights` (of AdelaiDet's CondInst) wrote; of another "
            "network take the ONNX file that its own project exports"
        )
    _refuse_lfs_pointer(path, content, len(content))
    return content


def refuse_lfs_pointers(paths: Iterable[Path]) -> None:
    """Refuses what a clone without Git LFS leaves in place of large files. One that is missing its reader tells of.

    Raises:
        ModelError: one is a pointer, or cannot be read.
    """
    for path in paths:
        if path.is_file():
            try:
                with path.open("rb") as file:
                    beginning = file.read(len(_LFS_POINTER))
            except OSError as error:
                raise ModelError(f"cannot read the model file {path}: {error.strerror}") from error
            _refuse_lfs_pointer(path, beginning, path.stat().st_size)


def _refuse_lfs_pointer(path: Path, beginning: bytes, size: int) -> None:
    if beginning.startswith(_LFS_POINTER):
        raise ModelError(
            f"{path} is a Git LFS pointer of {size} bytes in place of the model; `git lfs pull` in its repository "
            "fetches the model itself"
        )


def _parse(metadata: Mapping[str, str]) -> ModelInfo:
    class_names = json.loads(metadata["class_names"])
    if not isinstance(class_names, list) or not class_names or not all(isinstance(name, str) for name in class_names):
        raise ValueError(f"class_names must be a list of names, not {metadata['class_names']}")
    if len(class_names) > MAX_CLASSES:
        raise ValueError(f"class_names has {len(class_names)} names, more than {MAX_CLASSES}")
    score_threshold, mask_threshold = (_probability(metadata, key) for key in ("score_threshold", "mask_threshold"))
    return ModelInfo(
        name=metadata["name"],
        version=metadata["version"],
        class_names=tuple(class_names),
        digest=metadata["digest"],
        quantised_from=metadata.get(QUANTISED_FROM_KEY, ""),
        score_threshold=score_threshold,
        mask_threshold=mask_threshold,
        calibration=ScoreCalibration.from_text(metadata[CALIBRATION_KEY]) if CALIBRATION_KEY in metadata else UNCHANGED,
        stuff_is_told=True,  # it was trained on objects alone, however they are called
    )


def _probability(metadata: Mapping[str, str], key: str) -> float:
    value = float(metadata[key])
    if not 0 <= value <= 1:
        raise ValueError(f"{key} must be in [0, 1], not {value}")
    return value


def read_metadata(content: bytes) -> dict[str, str]:
    """The `metadata_props` of a serialised ONNX model.

    Raises:
        ValueError: when the bytes are no protobuf message.
    """
    _require_content(content)
    metadata = {}
    for number, value, _ in protobuf.fields(content):
        if number == _METADATA_FIELD and not isinstance(value, int):
            entry = {key: protobuf.text(part) for key, part, _ in protobuf.fields(value)}
            metadata[entry.get(_KEY_FIELD, "")] = entry.get(_VALUE_FIELD, "")
    return metadata


def mask_head_of(metadata: Mapping[str, str]) -> str:
    """The way to masks of a network of this project, by its name in the configuration; "" where a file does not tell.

    A file in 8 bits says it by itself, since it has no configuration; one from before there was a choice is CondInst.
    """
    if MASK_HEAD_KEY in metadata:
        return metadata[MASK_HEAD_KEY]
    try:
        return str(json.loads(metadata[NETWORK_KEY])["config"].get("mask_head", "condinst"))
    except (KeyError, ValueError, TypeError, AttributeError):
        return ""


def graph_digest(content: bytes) -> str:
    """sha256, hexadecimal, of a serialised ONNX model without its `metadata_props`.

    Raises:
        ValueError: when the bytes are no protobuf message.
    """
    _require_content(content)
    digest = hashlib.sha256()
    for number, _, field in protobuf.fields(content):
        if number != _METADATA_FIELD:
            digest.update(field)
    return digest.hexdigest()


def _require_content(content: bytes) -> None:
    if not content:
        raise ValueError("the file is empty")
