"""Where a model lies: a path as it is, or the copy of a model of the Hugging Face hub on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from instance_seg_ros.segmentation.model_file import ModelError

_HUB_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w.-]+))?")
_FILE_ENDINGS = (".onnx", ".safetensors", ".pt", ".pth", ".bin", ".engine")
_FILES = ("*.json", "*.safetensors", "merges.txt", "vocab.txt")
"""What is fetched: no code, and no weights that can hold code."""


def located(path: Path) -> Path:
    """The file or folder of a model.

    A path that exists is taken as it is. Otherwise a name such as `facebook/sam-vit-base`, or with a revision
    `facebook/sam-vit-base@main`, is that of a model on the hub: the copy in the cache of `huggingface_hub` is used
    where there is one, so that a robot needs no network; else it is fetched, which takes as long as its gigabytes do.

    Raises:
        ModelError: it has the form of such a name, is no path, and is neither in the cache nor can be fetched.
    """
    path = path.expanduser()
    name = _HUB_NAME.fullmatch(path.as_posix())
    if name is None or path.suffix in _FILE_ENDINGS or path.exists():
        return path
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError as error:
        raise ModelError(
            f"there is no {path} here; if it is a model of the Hugging Face hub: pip install "
            "'instance_seg_ros[transformers]'"
        ) from error
    wanted: dict[str, Any] = {"repo_id": name["name"], "revision": name["revision"], "allow_patterns": list(_FILES)}
    try:
        return Path(snapshot_download(local_files_only=True, **wanted))
    except LocalEntryNotFoundError:
        pass  # not in the cache
    try:
        return Path(snapshot_download(**wanted))
    except Exception as error:  # of many kinds: no network, no such name, no permission, a full disk
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{path} is neither a file or folder here nor a model in the Hugging Face cache, and cannot be fetched "
            f"({reason}); on a machine with a network: hf download {name['name']} --local-dir FOLDER, and give that "
            "folder"
        ) from error
