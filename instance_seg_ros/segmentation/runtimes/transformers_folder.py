"""A folder with a model of the library transformers: what it says, and its network in PyTorch, from safetensors alone.

The folder is what `save_pretrained` writes and `hf download` fetches: config.json, safetensors, and
preprocessor_config.json, which says how images are fed. None of its code is run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from instance_seg_ros.segmentation.families.image_input import ImageInput, Sides
from instance_seg_ros.segmentation.families.rf_detr import IMAGENET_MEAN, IMAGENET_STD
from instance_seg_ros.segmentation.model_file import MAX_CLASSES, ModelError, ModelInfo, refuse_lfs_pointers
from instance_seg_ros.segmentation.model_location import FILES

RUNTIME = f"transformers {transformers.__version__}, PyTorch {torch.__version__}"

WARM_UP_HW = (96, 128)
"""Of the image that a network is tried out with."""
_MULTIPLE = 32
"""Of each side of an image whose size follows the camera's."""
_ONLY_FOR_TRAINING = re.compile(r"^criterion\.|\.num_batches_tracked$")
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt")


class ModelFolder:
    """What a folder says of its model.

    Attributes:
        path: of the folder.
        config: of config.json.
        model_type: of the config; "" if it says none.

    Raises:
        ModelError: it has no config.json that can be read, or no weights as safetensors, or Git LFS pointers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = self.read_json("config.json")
        self.model_type = str(self.config.get("model_type", ""))
        self._weights = sorted(path.glob("*.safetensors"))
        if not self._weights:
            others = sorted(file.name for file in path.glob("*.bin"))
            cure = (
                f"; {others[0]} can run code and is not loaded: where you trust it, from_pretrained and "
                "save_pretrained of transformers write it as safetensors"
                if others
                else "; other formats can run code and are not loaded"
            )
            raise ModelError(f"{path} has no weights as safetensors{cure}")
        refuse_lfs_pointers(_files(path))

    def read_json(self, name: str) -> dict[str, Any]:
        """A file of the folder.

        Raises:
            ModelError: it is missing, no JSON, or holds no facts by name.
        """
        path = self.path / name
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise ModelError(f"{self.path} is no model of transformers: it has no {name}") from error
        except (OSError, ValueError) as error:
            raise ModelError(f"cannot read {path}: {error}") from error
        if not isinstance(content, dict):
            raise ModelError(f"{path} holds no facts by name")
        return content

    def load(self, class_name: str, threads: int) -> tuple[Any, str]:
        """The network, with all its weights from the folder, and the device that it is on.

        Args:
            class_name: of transformers.
            threads: CPU threads, 0 for PyTorch's own choice.

        Raises:
            ModelError: transformers cannot load it, the folder lacks weights, or names code for it.
        """
        kernels = _foreign_kernels(self.config)
        if kernels:
            raise ModelError(
                f"{self.path}/config.json wants {kernels[0]} of the Hugging Face hub to compute attention, which is "
                "code and is not loaded; take the line out"
            )
        try:
            model, loaded = getattr(transformers, class_name).from_pretrained(
                self.path, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        except Exception as error:  # of any kind, by what is wrong in the folder
            raise ModelError(f"transformers cannot load {self.path}: {first_line(error)}") from error
        # transformers fills them with random numbers: a detector would get random masks, a SAM 2 without the buffer of
        # its positions would look elsewhere. What only a training reads changes nothing.
        random = sorted(name for name in loaded["missing_keys"] if not _ONLY_FOR_TRAINING.search(name))
        if random:
            raise ModelError(
                f"{self.path} has no weights for {len(random)} parts of a {class_name}, such as {random[0]}; is it a "
                "model without masks?"
            )
        if threads:
            torch.set_num_threads(threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return model.eval().to(device), device

    def try_out(self, run: Callable[[], object]) -> None:
        """Runs the network once, so that one that cannot run is refused at the start.

        Raises:
            ModelError: it does not run.
        """
        try:
            run()
        except ModelError:
            raise
        except Exception as error:  # of any kind, by what is wrong in the folder
            raise ModelError(f"transformers cannot run {self.path}: {first_line(error)}") from error

    def info(
        self,
        class_names: tuple[str, ...],
        score_threshold: float,
        mask_threshold: float,
        stuff_class_ids: tuple[int, ...] = (),
        stuff_is_told: bool = False,
    ) -> ModelInfo:
        """As the segmenter shows it; its digest is of all that loading may read."""
        return ModelInfo(
            name=self._name(),
            version=str(self.config.get("transformers_version", "unknown")),
            class_names=class_names,
            score_threshold=score_threshold,
            mask_threshold=mask_threshold,
            digest=_digest(self.path),
            needs_color=True,
            stuff_class_ids=stuff_class_ids,
            stuff_is_told=stuff_is_told,
        )

    def _name(self) -> str:
        """The folder's, or that on the hub, whose cache calls folders by numbers."""
        if self.path.parent.name == "snapshots":
            return self.path.parent.parent.name.removeprefix("models--").replace("--", "/")
        return self.path.name

    def processing(self) -> dict[str, Any]:
        """What the folder says of how images are fed: preprocessor_config.json, or of newer versions the part of
        processor_config.json.

        Raises:
            ModelError: there is neither, or they cannot be read.
        """
        if not (self.path / "preprocessor_config.json").exists() and (self.path / "processor_config.json").exists():
            said = self.read_json("processor_config.json").get("image_processor")
            if isinstance(said, dict):
                return said
        return self.read_json("preprocessor_config.json")

    def image_input(self, said: Mapping[str, Any], resize: str = "stretch", fill: float | None = None) -> ImageInput:
        """How pixels become numbers; the size is the caller's matter.

        Args:
            said: what `processing` gives.
            resize, fill: as in ImageInput.

        Raises:
            ModelError: a value cannot be used.
        """
        is_normalised = said.get("do_normalize", True)
        try:
            return ImageInput(
                size_wh=None,
                resize=resize,
                scale=float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0,
                mean=_three(said.get("image_mean", IMAGENET_MEAN)) if is_normalised else (0.0, 0.0, 0.0),
                std=_three(said.get("image_std", IMAGENET_STD)) if is_normalised else (1.0, 1.0, 1.0),
                fill=fill,
            )
        except (TypeError, ValueError) as error:
            raise ModelError(f"{self.path}/preprocessor_config.json cannot be used: {error}") from error


def tokenizer_of(folder: ModelFolder) -> Any:
    """What turns words into the numbers that the model takes.

    Raises:
        ModelError: the folder lacks its files, or they cannot be read.
    """
    # Without files transformers makes one of an empty vocabulary, to which all words are the same.
    if not any((folder.path / name).is_file() for name in _VOCABULARIES):
        raise ModelError(
            f"{folder.path} has no tokenizer, which words need: none of {', '.join(_VOCABULARIES)}; fetch the whole "
            "model"
        )
    try:
        return transformers.AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of any kind, by what is wrong in the folder
        raise ModelError(f"the tokenizer of {folder.path} cannot be loaded: {first_line(error)}") from error


def runtime_on(device: str) -> str:
    """The versions and the device, for people."""
    return f"{RUNTIME} on {torch.cuda.get_device_name() if device == 'cuda' else 'the CPU'}"


def _foreign_kernels(config: Any) -> list[str]:
    """What transformers would fetch and run for attention: names of the hub, anywhere in a config.json."""
    if not isinstance(config, dict):
        return []
    named = [value for key, value in config.items() if key.endswith("attn_implementation") and "/" in str(value)]
    return [*map(str, named), *(name for value in config.values() for name in _foreign_kernels(value))]


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def size_of(said: Mapping[str, Any], where: Path) -> Mapping[str, int]:
    """The size of the network's image, by transformers' keys.

    Args:
        said: what `ModelFolder.processing` gives.
        where: the folder, for the message.

    Raises:
        ModelError: it is none.
    """
    size = said.get("size")
    if isinstance(size, int):
        size = {"shortest_edge": size, "longest_edge": said.get("max_size") or 1333}
    if not isinstance(size, dict) or not ({"height", "width"} <= size.keys() or "shortest_edge" in size):
        raise ModelError(
            f"{where}/preprocessor_config.json: size must have height and width, or shortest_edge, not {size!r}"
        )
    return size


def network_wh(size: Mapping[str, int], camera_wh: Sides) -> Sides:
    """A fixed size, or the camera's with the shorter side as given, if the longer one is not too long then."""
    if "shortest_edge" not in size:
        return size["width"], size["height"]
    scale = size["shortest_edge"] / min(camera_wh)
    longest = size.get("longest_edge")
    if longest:
        scale = min(scale, longest / max(camera_wh))
    width, height = (max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in camera_wh)
    return width, height


def share_equal_weights(first: torch.nn.Module, second: torch.nn.Module) -> None:
    """Has two networks hold one copy of the weights that have the same name and value in both.

    The parts of SAM 3 that take points and words have an encoder in common, nearly all of either's gigabytes.
    """
    own = dict(first.named_parameters())
    for name, weight in second.named_parameters():
        other = own.get(name)
        if other is not None and other.dtype == weight.dtype and torch.equal(other, weight):
            weight.data = other.data


def class_names_of(folder: Path, id2label: Mapping[int, str]) -> tuple[str, ...]:
    """The names by class index, of config.json.

    Raises:
        ModelError: there are none, too many, or they are not numbered from 0.
    """
    ids = sorted(id2label)
    if ids != list(range(len(ids))) or not 0 < len(ids) <= MAX_CLASSES:
        raise ModelError(
            f"{folder}/config.json: id2label must number 1 to {MAX_CLASSES} classes from 0, not {ids[:10]}"
        )
    return tuple(str(id2label[index]) for index in ids)


def _files(folder: Path) -> list[Path]:
    """All that loading may read."""
    return sorted(path for pattern in FILES for path in folder.glob(pattern))


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    """Of an exception's text, for a message of one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
