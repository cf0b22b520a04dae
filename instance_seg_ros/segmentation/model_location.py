"""Where a model lies: a path as it is, one that is shipped, or the copy of one of the Hugging Face hub here."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from pathlib import Path
from typing import Any

from instance_seg_ros.segmentation.model_file import ModelError, default_model_path, shipped_models

_LOGGER = logging.getLogger(__name__)

_HUB_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w.-]+))?")
_FILE_ENDINGS = (".onnx", ".safetensors", ".pt", ".pth", ".bin", ".engine")
FILES = ("*.json", "*.safetensors", "merges.txt", "vocab.txt")
"""What is fetched of a model, and what its digest is of: no code, and no weights that can hold code."""
_REPLY_TIMEOUT_S = 10.0
"""Of the hub's first word. Without it, a network that drops packets would hold a transition for minutes."""


def located(path: Path | None) -> Path:
    """The file or folder of a model; without a path, the default one.

    A path that exists is taken as it is. Otherwise `tabletop_rgbd` and the like are names of what is shipped
    (`instance-seg models` lists them), and a name such as `facebook/sam-vit-base`, or with a revision
    `facebook/sam-vit-base@main`, is that of a model on the hub: the copy in the cache of `huggingface_hub` is used
    where there is one, so that a robot needs no network; else it is fetched, which takes as long as its gigabytes do.

    Raises:
        ModelError: it has the form of such a name, is no path, and is neither whole in the cache nor can be fetched.
    """
    if path is None:
        return default_model_path()
    path = path.expanduser()
    if not path.exists() and (shipped := shipped_models().get(str(path))):
        return shipped
    name = _HUB_NAME.fullmatch(path.as_posix())
    if name is None or path.suffix in _FILE_ENDINGS or path.exists():
        return path
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise ModelError(
            f"there is no {path} here; if it is a model of the Hugging Face hub: pip install "
            "'instance_seg_ros[transformers]'"
        ) from error
    wanted: dict[str, Any] = {"repo_id": name["name"], "revision": name["revision"], "allow_patterns": list(FILES)}
    try:
        cached = Path(snapshot_download(local_files_only=True, **wanted))
    except HFValidationError:  # such as ../model: no name that the hub gives
        return path
    except LocalEntryNotFoundError:
        pass
    else:
        if _is_whole(cached):
            return cached
    _LOGGER.warning("%s is no file or folder here, nor all in the cache: asking the Hugging Face hub for it", path)
    try:
        _require_reply(partial(HfApi().repo_info, name["name"], revision=name["revision"], timeout=_REPLY_TIMEOUT_S))
        return Path(snapshot_download(**wanted))
    except Exception as error:  # of many kinds: no network, no such name, no permission, a full disk
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{path} is neither a file or folder here nor a whole model in the Hugging Face cache, and cannot be "
            f"fetched ({reason}); on a machine with a network: hf download {name['name']} --local-dir FOLDER, and give "
            "that folder"
        ) from error


def _require_reply(ask: Callable[[], object]) -> None:
    """Asks the hub something; the time that looking its address up takes counts, too.

    Raises:
        TimeoutError: there is no answer in time.
        Exception: whatever asking raises.
    """
    executor = ThreadPoolExecutor(1)
    try:
        executor.submit(ask).result(_REPLY_TIMEOUT_S)
    except FutureTimeoutError as error:
        raise TimeoutError(f"no answer within {_REPLY_TIMEOUT_S:g} s") from error
    finally:
        executor.shutdown(wait=False)


def _is_whole(snapshot: Path) -> bool:
    """Whether a folder of the cache has all that is needed: a download may have been cut off, or have been of a part.

    Weights in a form that is not loaded count: whoever loads the folder says what to do with them.
    """
    if not any((snapshot / name).exists() for name in ("preprocessor_config.json", "processor_config.json")):
        return False
    index = snapshot / "model.safetensors.index.json"
    if not index.exists():
        return any(snapshot.glob("*.safetensors")) or any(snapshot.glob("*.bin"))
    try:
        shards = set(json.loads(index.read_bytes())["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all((snapshot / str(shard)).exists() for shard in shards)
