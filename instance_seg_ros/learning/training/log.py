"""What a training writes while it runs: a line for each step and, where it is installed, TensorBoard's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instance_seg_ros.files.atomic import write_atomically

LOG_NAME = "log.jsonl"
TENSORBOARD_NAME = "tensorboard"


class TrainingLog:
    """The log of one training. Lines after `step`, and incomplete ones, which a killed run has left, are removed.

    Args:
        folder: of the training.
        step: that the training goes on from.
    """

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / LOG_NAME
        if path.is_file():
            lines = [line for line in path.read_bytes().splitlines() if _is_whole(line, step)]
            write_atomically(path, b"".join(line + b"\n" for line in lines))
        self._file = path.open("a", buffering=1)
        self._board = _tensorboard(folder / TENSORBOARD_NAME, step)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, step: int, elapsed_s: float, values: Mapping[str, float]) -> None:
        """Writes the losses and other values of a step."""
        rounded = {name: float(f"{value:.5g}") for name, value in values.items()}
        self._file.write(json.dumps({"step": step, "elapsed_s": round(elapsed_s, 2), **rounded}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    @property
    def shows_pictures(self) -> bool:
        """Whether `show` has anywhere to show."""
        return self._board is not None

    def show(self, step: int, picture_rgb: NDArray[np.uint8]) -> None:
        """Shows a picture (H, W, 3) of the predictions of a step."""
        if self._board is not None:
            self._board.add_image("predictions", picture_rgb, step, dataformats="HWC")


def _is_whole(line: bytes, last_step: int) -> bool:
    """Whether a line of the log is whole and of a step up to that one."""
    try:
        return bool(json.loads(line)["step"] <= last_step)
    except ValueError:  # cut short, as by a full disk or a power failure
        return False


def _tensorboard(folder: Path, step: int) -> Any:
    """TensorBoard's writer, None without the package."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        tqdm.write(
            f"no TensorBoard files: the package tensorboard is not installed (pip install "
            f"tensorboard); {LOG_NAME} holds every value"
        )
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
