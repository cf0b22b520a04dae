"""`instance-seg models`: what model files say of themselves, and what is seen in those of other projects."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from instance_seg_ros.commands.helpers.model_inspection import inspection_of
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.segmentation import default_model_path, read_model_info
from instance_seg_ros.segmentation.model_file import mask_head_of, read_metadata
from instance_seg_ros.segmentation.model_location import located

_INSPECT = Path("inspect")
_FURTHER = {"input_contract": "input", "trained_on": "trained on"}
"""Keys of the metadata with facts as JSON, and their titles."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `instance-seg models`."""
    parser.epilog = (
        "Every file is read whole, and this project's own are checked against their digests. `models inspect FILE`\n"
        "tells of an ONNX file or a folder which family it is of and why, how it is fed, or what is missing; its exit\n"
        "status is 1 where the file cannot be used."
    )
    parser.add_argument(
        "files",
        type=Path,
        nargs="*",
        metavar="[inspect] FILE",
        help="model files (default: those shipped), after the word inspect files and folders of any project",
    )


def run(args: argparse.Namespace) -> int:
    """Prints each model; returns the exit status.

    Raises:
        InputError: for a file that is missing, damaged or no model of this project.
    """
    if args.files and args.files[0] == _INSPECT:
        return _inspect(args.files[1:])
    default = default_model_path()
    files = [located(file) for file in args.files] or sorted(default.parent.glob("*.onnx"))
    if not files:
        raise InputError(f"no model is shipped in {default.parent}; install the package again")
    print("\n\n".join(description_of(file, is_default=file == default) for file in files))
    return 0


def _inspect(files: Sequence[Path]) -> int:
    if not files:
        raise InputError("inspect needs a file: instance-seg models inspect FILE")
    told = [inspection_of(file) for file in files]
    print("\n\n".join(text for text, _ in told))
    return 0 if all(usable for _, usable in told) else 1


def description_of(file: Path, is_default: bool = False) -> str:
    """What a model file says of itself, as a table.

    Raises:
        ModelError: as `read_model_info`.
    """
    info = read_model_info(file)
    further = read_metadata(file.read_bytes())
    which = " (the default)" if is_default else " (in 8 bits)" if info.quantised_from else ""
    rows = [
        ("name", f"{info.name} {info.version}{which}"),
        ("file", f"{file} ({file.stat().st_size / 1e6:.1f} MB)"),
        ("classes", ", ".join(info.class_names)),
        ("score threshold", f"{info.score_threshold:g}"),
        ("mask threshold", f"{info.mask_threshold:g}"),
        *([("mask head", head)] if (head := mask_head_of(further)) else []),
        ("digest", info.digest),
    ]
    for key, title in _FURTHER.items():
        facts = lines_of(json.loads(further.get(key, "{}")))
        rows += [(title if index == 0 else "", fact) for index, fact in enumerate(facts)]
    return tabulate(rows, tablefmt="plain", disable_numparse=True)


def lines_of(facts: Mapping[str, Any]) -> list[str]:
    """One line for each fact that is known; facts of a fact follow its name on the same line."""
    return [f"{name}: {_shown(value)}" for name, value in facts.items() if value is not None]


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
