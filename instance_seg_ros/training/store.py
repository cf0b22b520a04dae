"""Reads a scene store: a folder of memory-mapped arrays with a `meta.json` beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STORE_FORMAT = 1
DEPTH_UNIT_M = 1e-4


@dataclass(frozen=True, eq=False)
class SceneStore:
    """The frames of a store that may be used.

    Attributes:
        meta: the content of `meta.json`.
        depth: (N, H, W) uint16 in units of 0.1 mm along z, 0 = nothing hit; memory-mapped.
        ids: (N, H, W) uint8, 0 = background.
        intrinsics: (N, 4) float32 fx fy cx cy.
        scene_id: (N,) int32.
        color: (N, H, W, 3) uint8 RGB, or None for a store without colour.
        frames: (M,) int64, indices of the usable frames, in ascending order.
    """

    meta: dict[str, Any]
    depth: NDArray[np.uint16]
    ids: NDArray[np.uint8]
    intrinsics: NDArray[np.float32]
    scene_id: NDArray[np.int32]
    color: NDArray[np.uint8] | None
    frames: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frames)

    def depth_m(self, frame: int) -> NDArray[np.float32]:
        """(H, W) float32 metres of a frame (an index of `frames`, not a position in it)."""
        return self.depth[frame].astype(np.float32) * np.float32(DEPTH_UNIT_M)


def open_store(folder: Path, *, allow_partial: bool = False) -> SceneStore:
    """Opens a store.

    Args:
        folder: written by `instance-seg synth`.
        allow_partial: accept a store that is still being written, and give its finished scenes only.

    Raises:
        FileNotFoundError: no store there.
        ValueError: another format, shapes that disagree, or a store that is not finished.
    """
    meta_path = folder / "meta.json"
    if not meta_path.is_file():
        raise FileNotFoundError(f"no scene store in {folder}: meta.json is missing; make one with `instance-seg synth`")
    meta = json.loads(meta_path.read_text())
    if meta.get("format") != STORE_FORMAT:
        raise ValueError(f"{folder} has store format {meta.get('format')!r}; this version reads {STORE_FORMAT}")
    arrays = {name: _open_array(folder, name) for name in ("depth", "ids", "intrinsics", "scene_id")}
    color = _open_array(folder, "color") if meta.get("color") else None
    count, height, width = meta["frames"], meta["height"], meta["width"]
    expected = {
        "depth": (count, height, width),
        "ids": (count, height, width),
        "intrinsics": (count, 4),
        "scene_id": (count,),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{folder}/{name}.npy has shape {arrays[name].shape}, but meta.json says {shape}")
    frames = _finished_frames(folder, arrays["scene_id"], arrays["intrinsics"])
    if len(frames) < count and not allow_partial:
        raise ValueError(
            f"{folder} is not finished: {len(frames)} of {count} frames. Resume `instance-seg synth`, or pass --allow-partial"
        )
    if len(frames) == 0:
        raise ValueError(f"{folder} has no finished frame yet")
    return SceneStore(meta=meta, color=color, frames=frames, **arrays)


def _open_array(folder: Path, name: str) -> NDArray[Any]:
    path = folder / f"{name}.npy"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; the store is damaged, make it again with `instance-seg synth`")
    return np.load(path, mmap_mode="r")


def _finished_frames(folder: Path, scene_id: NDArray[np.int32], intrinsics: NDArray[np.float32]) -> NDArray[np.int64]:
    # A frame that was never written has no focal length; its scene number is still the array's initial 0.
    written = intrinsics[:, 0] > 0
    done_path = folder / "done.npy"
    if done_path.is_file():
        done = np.load(done_path)
        written &= done[np.clip(scene_id, 0, len(done) - 1)]
    return np.flatnonzero(written)
