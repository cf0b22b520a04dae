"""A scene store made by hand: a table with boxes on it, seen from above."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.segmentation.runtimes import tensorrt_check

HEIGHT, WIDTH, FRAMES, VIEWS = 96, 128, 12, 2


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store"), color=False)


@pytest.fixture(scope="session")
def tiny_color_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("color_store"), color=True)


@pytest.fixture
def without_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """`export` tries no file with TensorRT, whose builder takes longer than the rest; test_adelaidet.py tries one."""
    monkeypatch.setattr(tensorrt_check, "check_obstacle", lambda: "left out here")


def write_store(folder: Path, color: bool) -> Path:
    """Writes the store into a folder and returns it; its colours tell depth from 0.76 to 1 m."""
    rng = np.random.default_rng(5)
    depth = np.full((FRAMES, HEIGHT, WIDTH), 10_000, dtype=np.uint16)
    ids = np.zeros((FRAMES, HEIGHT, WIDTH), dtype=np.uint8)
    for frame in range(FRAMES):
        for label in range(1, 4):
            top, left = rng.integers(0, HEIGHT - 24), rng.integers(0, WIDTH - 34)
            region = np.s_[frame, top : top + 24, left : left + 34]
            depth[region], ids[region] = 10_000 - 800 * label, label
    arrays = {
        "depth": depth,
        "ids": ids,
        "intrinsics": np.tile(np.array([110, 110, 63.5, 47.5], dtype=np.float32), (FRAMES, 1)),
        "T_world_camera": np.tile(np.eye(4, dtype=np.float32), (FRAMES, 1, 1)),
        "scene_id": (np.arange(FRAMES) // VIEWS + 1).astype(np.int32),
        "done": np.ones(FRAMES // VIEWS, dtype=bool),
    }
    if color:
        arrays["color"] = np.repeat((depth // 40).astype(np.uint8)[..., None], 3, axis=3)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    meta = {"format": 1, "frames": FRAMES, "width": WIDTH, "height": HEIGHT, "seed": 5, "color": color}
    (folder / "meta.json").write_text(json.dumps({**meta, "generator": {"views": VIEWS}}))
    return folder
