"""Checkpoints of AdelaiDet's CondInst: theirs read safely and checked key by key, ours written and read."""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.learning.models.adelaidet import (
    SIZES_OF_INTEREST_PX,
    STRIDES,
    STYLES,
    AdelaiDetCondInst,
    AdelaiDetConfig,
)
from instance_seg_ros.learning.models.checkpoint import save_atomically
from instance_seg_ros.learning.models.resnet import STAGE_BLOCKS
from instance_seg_ros.segmentation.families.coco import COCO_CLASS_NAMES

FORMAT = "instance_seg_ros/published-condinst/1"

_SCALES = "head.scales"


def _in_sequence(name: str) -> str:
    """AdelaiDet's towers are a sequence of convolution, normalisation, ReLU: convs.1.weight becomes 3.weight."""
    kind, layer, parameter = name.split(".")
    return f"{3 * int(layer) + (kind == 'norms')}.{parameter}"


# This project's name of a parameter (a pattern) and AdelaiDet's. Scales are apart: five there, one here.
_RENAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"backbone\.stem\.conv\.(.+)", r"backbone.bottom_up.stem.conv1.\1"),
    (r"backbone\.stem\.norm\.(.+)", r"backbone.bottom_up.stem.conv1.norm.\1"),
    (r"backbone\.stages\.(\d)\.(.+)\.conv\.(\w+)", lambda m: f"backbone.bottom_up.res{int(m[1]) + 2}.{m[2]}.{m[3]}"),
    (
        r"backbone\.stages\.(\d)\.(.+)\.norm\.(\w+)",
        lambda m: f"backbone.bottom_up.res{int(m[1]) + 2}.{m[2]}.norm.{m[3]}",
    ),
    (r"fpn\.(lateral|output)\.(\d)\.(\w+)", lambda m: f"backbone.fpn_{m[1]}{int(m[2]) + 3}.{m[3]}"),
    (r"(p[67])\.(\w+)", r"backbone.top_block.\1.\2"),
    (r"head\.class_tower\.(.+)", lambda m: f"proposal_generator.fcos_head.cls_tower.{_in_sequence(m[1])}"),
    (r"head\.box_tower\.(.+)", lambda m: f"proposal_generator.fcos_head.bbox_tower.{_in_sequence(m[1])}"),
    (r"head\.class_logits\.(\w+)", r"proposal_generator.fcos_head.cls_logits.\1"),
    (r"head\.ltrb\.(\w+)", r"proposal_generator.fcos_head.bbox_pred.\1"),
    (r"head\.centerness\.(\w+)", r"proposal_generator.fcos_head.ctrness.\1"),
    (r"controller\.(\w+)", r"controller.\1"),
    (r"mask_branch\.(refine|tower)\.(.+)", r"mask_branch.\1.\2"),
    (r"mask_branch\.features\.(\w+)", r"mask_branch.tower.4.\1"),
    (r"semantic\.tower\.(.+)", r"mask_branch.seg_head.\1"),
    (r"semantic\.logits\.(\w+)", r"mask_branch.logits.\1"),
)

# Not weights: counters of training, and facts of the configuration, which are checked where present.
_COUNTERS = re.compile(r"(.*\.num_batches_tracked|mask_head\._iter)")
_SIZES_OF_INTEREST = "mask_head.sizes_of_interest"
_PIXEL_FACTS = {"pixel_mean": "mean", "pixel_std": "std"}

_LISTED_NAMES = 8

# Everything that NumPy needs to rebuild plain arrays; none of these runs code that the file brings.
_RECONSTRUCT, _SCALAR = np.zeros(0).__reduce__()[0], np.float32(0).__reduce__()[0]
_ARRAY_GLOBALS: dict[str, Any] = {
    "numpy.core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy.core.multiarray.scalar": _SCALAR,
    "numpy._core.multiarray.scalar": _SCALAR,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "collections.OrderedDict": OrderedDict,
    **{
        f"numpy.dtypes.{type(np.dtype(kind)).__name__}": type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8")
    },
}


class ImportRefusedError(InputError):
    """The file is not a checkpoint that can be imported; the message names the file, the cause and the cure."""


@dataclass(frozen=True)
class AdelaiDetCheckpoint:
    """A network of AdelaiDet with its weights.

    Attributes:
        config: which network.
        class_names: by class index.
        state_dict: of a `AdelaiDetCondInst`.
        source: where the weights came from: file name and sha256.
    """

    config: AdelaiDetConfig
    class_names: tuple[str, ...]
    state_dict: dict[str, Tensor]
    source: dict[str, str]

    def model(self) -> AdelaiDetCondInst:
        """The network in evaluation mode."""
        model = AdelaiDetCondInst(self.config)
        model.load_state_dict(self.state_dict)
        return model.eval()


def save_adelaidet_checkpoint(checkpoint: AdelaiDetCheckpoint, path: Path) -> None:
    """Writes {format, config, class_names, state_dict, source}, plain values and tensors only, in one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_atomically(
        {
            "format": FORMAT,
            "config": checkpoint.config.to_dict(),
            "class_names": list(checkpoint.class_names),
            "state_dict": checkpoint.state_dict,
            "source": checkpoint.source,
        },
        path,
    )


def is_adelaidet_checkpoint(path: Path) -> bool:
    """Whether `save_adelaidet_checkpoint` wrote the file; only its format is looked at, the weights are not read.

    Raises:
        OSError: there is no such file.
        InputError: it is no file of PyTorch.
    """
    try:
        content = torch.load(path, map_location="meta", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # damaged pickles raise whatever their opcodes run into
        raise InputError(
            f"{path} is damaged or no checkpoint ({_reason(error)}); give what `instance-seg train` or `instance-seg "
            "import-weights` wrote"
        ) from error
    return isinstance(content, dict) and content.get("format") == FORMAT


def load_adelaidet_checkpoint(path: Path) -> AdelaiDetCheckpoint:
    """Reads what `save_adelaidet_checkpoint` wrote.

    Raises:
        ImportRefusedError: the file is missing, something else, or of another version of this package.
    """
    content = _unpickle(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ImportRefusedError(
            f"{path} is not a checkpoint of format {FORMAT!r}; make one with `instance-seg import-weights`"
        )
    try:
        config, class_names = AdelaiDetConfig(**content["config"]), tuple(content["class_names"])
        return AdelaiDetCheckpoint(config, class_names, content["state_dict"], content["source"])
    except (KeyError, TypeError) as error:
        raise ImportRefusedError(
            f"{path} was written by another version of this package ({error}); import the weights again"
        ) from error


def import_adelaidet(
    path: Path, style: str = "caffe", class_names: tuple[str, ...] | None = None
) -> AdelaiDetCheckpoint:
    """Reads a checkpoint of AdelaiDet's layout; every key and shape must be one of that network's.

    Args:
        path: a file of `torch.save`, or a pickle of NumPy arrays; the weights lie under "model" or at the top.
        style: of the backbone, a key of `STYLES`; the weights themselves do not tell.
        class_names: None for COCO's 80.

    Raises:
        ImportRefusedError: the file cannot be read without running code of its own, or is not such a checkpoint; names
            what is missing, left over or misshapen.
    """
    weights = _weights_of(path, _unpickle(path))
    config = _recognise(path, weights, style)
    if class_names is None:
        if config.num_classes != len(COCO_CLASS_NAMES):
            raise ImportRefusedError(
                f"{path} has {config.num_classes} classes, so they are not COCO's {len(COCO_CLASS_NAMES)}; name them"
            )
        class_names = COCO_CLASS_NAMES
    if len(class_names) != config.num_classes:
        raise ImportRefusedError(f"{path} has {config.num_classes} classes, but {len(class_names)} names were given")
    _check_facts(path, weights, config)
    state_dict = _translate(path, weights, config)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return AdelaiDetCheckpoint(config, class_names, state_dict, {"file": path.name, "sha256": digest})


def adelaidet_shapes(config: AdelaiDetConfig) -> dict[str, tuple[int, ...]]:
    """AdelaiDet's name and the shape of every parameter and statistic of a network: 363 for ResNet-50."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in _expected(config).items():
        for theirs in _adelaidet_names(name):
            shapes[theirs] = (1,) if name == _SCALES else tuple(tensor.shape)
    return shapes


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds NumPy arrays and plain containers, and refuses everything else by name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 writes bytes
            return _encode
        if f"{module}.{name}" not in _ARRAY_GLOBALS:
            raise pickle.UnpicklingError(f"it needs {module}.{name}")
        return _ARRAY_GLOBALS[f"{module}.{name}"]


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding)


def _unpickle(path: Path) -> Any:
    """The file's content: tensors, arrays and plain values, no code of the file run."""
    if not path.is_file():
        raise ImportRefusedError(f"there is no file {path}")
    try:
        if _written_by_torch(path):
            with torch.serialization.safe_globals([(value, name) for name, value in _ARRAY_GLOBALS.items()]):
                return torch.load(path, map_location="cpu", weights_only=True)
        with path.open("rb") as file:
            return _ArrayUnpickler(file, encoding="latin1").load()
    except Exception as error:  # damaged pickles raise whatever their opcodes run into
        raise ImportRefusedError(
            f"{path} is damaged, or cannot be read without running code that it brings ({_reason(error)}). If you "
            "trust it, save its weights alone where they came from: torch.save({'model': model.state_dict()}, FILE)"
        ) from error


def _written_by_torch(path: Path) -> bool:
    """Whether torch.save wrote the file, in today's format (a zip archive) or in that of before 2020."""
    beginning = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
    with path.open("rb") as file:
        return zipfile.is_zipfile(path) or file.read(len(beginning)) == beginning


def _reason(error: Exception) -> str:
    """What happened, in a few words; torch's message also holds advice."""
    text = str(error)
    refused = re.search(r"unsupported global:?(?: GLOBAL)? ([\w.]+)", text, re.IGNORECASE)
    if refused:
        return f"it needs {refused[1]}"
    text = text.partition("WeightsUnpickler error: ")[2] or text
    return (text.strip().splitlines() or [type(error).__name__])[0].rstrip(".,")


def _weights_of(path: Path, content: Any) -> dict[str, Tensor]:
    """The named tensors of a checkpoint, arrays made tensors, the prefix of a wrapped model removed."""
    weights = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not weights:
        raise ImportRefusedError(f"{path} has no weights under 'model'; is it a checkpoint?")
    tensors = {}
    for name, value in weights.items():
        numeric = isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
        tensor = torch.from_numpy(np.ascontiguousarray(value)) if numeric else value
        if not isinstance(tensor, Tensor):
            raise ImportRefusedError(f"{name!r} in {path} is no tensor but {type(value).__name__}; is it a checkpoint?")
        tensors[str(name).removeprefix("module.")] = tensor
    return tensors


def _recognise(path: Path, weights: Mapping[str, Tensor], style: str) -> AdelaiDetConfig:
    """Depth, classes and semantic branch, from the names and shapes."""
    logits = weights.get("proposal_generator.fcos_head.cls_logits.weight")
    if logits is None or logits.ndim != 4:
        raise ImportRefusedError(
            f"{path} has no proposal_generator.fcos_head.cls_logits.weight; it is not a checkpoint of CondInst"
        )
    blocks = tuple(_count(weights, rf"backbone\.bottom_up\.res{stage}\.(\d+)\..*") for stage in range(2, 6))
    depths = {stages: depth for depth, stages in STAGE_BLOCKS.items()}
    if blocks not in depths:
        raise ImportRefusedError(
            f"{path} has a backbone with {blocks} blocks; known are "
            + ", ".join(f"ResNet-{depth} {stages}" for stages, depth in depths.items())
        )
    return AdelaiDetConfig(depths[blocks], style, len(logits), _count(weights, r"mask_branch\.seg_head\.(\d+)\..*"))


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """One more than the highest number that the pattern finds in the names, 0 without any."""
    found = (re.fullmatch(pattern, name) for name in weights)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _check_facts(path: Path, weights: Mapping[str, Tensor], config: AdelaiDetConfig) -> None:
    """What the file says about its configuration must be what this network does."""
    expected = {_SIZES_OF_INTEREST: SIZES_OF_INTEREST_PX}
    expected |= {name: getattr(STYLES[config.style], fact) for name, fact in _PIXEL_FACTS.items()}
    for name, values in expected.items():
        if name not in weights:
            continue
        found = weights[name].flatten().tolist()
        if len(found) != len(values) or not np.allclose(found, values, rtol=1e-4):
            cure = "; give the other style of backbone" if name in _PIXEL_FACTS else ", which is not supported"
            raise ImportRefusedError(f"{name} of {path} is {found}, not {list(values)}{cure}")


def _translate(path: Path, weights: Mapping[str, Tensor], config: AdelaiDetConfig) -> dict[str, Tensor]:
    """This project's state dict from AdelaiDet's names."""
    shapes = adelaidet_shapes(config)
    missing = [name for name in shapes if name not in weights]
    known = {*shapes, _SIZES_OF_INTEREST, *_PIXEL_FACTS}
    extra = [name for name in weights if name not in known and not _COUNTERS.fullmatch(name)]
    misshapen = [
        f"{name} {tuple(weights[name].shape)} instead of {shape}"
        for name, shape in shapes.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    faults = [
        f"{len(names)} {what}: {', '.join(names[:_LISTED_NAMES])}{', ...' if len(names) > _LISTED_NAMES else ''}"
        for what, names in (("missing", missing), ("left over", extra), ("of another shape", misshapen))
        if names
    ]
    if faults:
        raise ImportRefusedError(
            f"{path} does not fit CondInst with ResNet-{config.depth} and {config.num_classes} classes. "
            + ". ".join(faults)
        )
    state_dict = {}
    for name, tensor in _expected(config).items():
        parts = [weights[theirs].to(tensor.dtype) for theirs in _adelaidet_names(name)]
        state_dict[name] = torch.cat(parts) if name == _SCALES else parts[0].clone()
    return state_dict


def _expected(config: AdelaiDetConfig) -> dict[str, Tensor]:
    """The network's state without storage, counters of training left out."""
    with torch.device("meta"):
        state = AdelaiDetCondInst(config).state_dict()
    return {name: tensor for name, tensor in state.items() if not _COUNTERS.fullmatch(name)}


def _adelaidet_names(name: str) -> list[str]:
    """AdelaiDet's names of one of this project's parameters."""
    if name == _SCALES:
        return [f"proposal_generator.fcos_head.scales.{level}.scale" for level in range(len(STRIDES))]
    for pattern, theirs in _RENAMES:
        match = re.fullmatch(pattern, name)
        if match:
            return [match.expand(theirs) if isinstance(theirs, str) else theirs(match)]
    raise KeyError(f"AdelaiDet's name is not known of {name}")
