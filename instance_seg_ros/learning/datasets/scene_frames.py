"""Frames of a scene store as a random camera would see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.learning.datasets.misregistration import MisregistrationSettings, misregister
from instance_seg_ros.learning.datasets.prints import PrintSettings, paint_prints
from instance_seg_ros.learning.datasets.training_samples import IGNORE_ID, Images
from instance_seg_ros.learning.synthetic.sensors.sensor import SensorSettings, simulate_depth
from instance_seg_ros.learning.synthetic.store import SceneStore

HOLDOUT_EVERY = 50
"""One scene in this many is never trained on."""

SensorModel = Callable[
    [NDArray[np.float32], NDArray[np.float32], np.random.Generator, NDArray[np.float32] | None], NDArray[np.float32]
]
"""(depth_m (H, W), intrinsics (4,), rng, behind_m (H, W) or None) -> depth_m (H, W) as a sensor would report it;
``behind_m`` as `simulate_depth` takes it."""


def random_sensor(
    depth_m: NDArray[np.float32],
    intrinsics: NDArray[np.float32],
    rng: np.random.Generator,
    behind_m: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """Depth as a random camera would report it."""
    return simulate_depth(depth_m, float(intrinsics[0]), rng, SensorSettings.sample(rng), behind_m)


class SceneFrames:
    """A `FrameSource` of the store's scenes except the held-out ones; class-agnostic.

    Args:
        store: of the scenes.
        inputs: "depth", "rgb" or "rgbd", what to give of each frame.
        sensor: what turns true depth into measured depth.
        holdout_every: scenes whose number is a multiple of this are left out.
        prints: painted over the colour; None takes the defaults.
        misregistration: of the colour against the depth; None takes the defaults.
        reopen: opens the store again, to take in new frames while it grows; None for a store that does not.

    Raises:
        ValueError: only colour is wanted, and the store has none.
    """

    class_names = ("object",)

    def __init__(
        self,
        store: SceneStore,
        inputs: str = "rgbd",
        sensor: SensorModel = random_sensor,
        holdout_every: int = HOLDOUT_EVERY,
        prints: PrintSettings | None = None,
        misregistration: MisregistrationSettings | None = None,
        reopen: Callable[[], SceneStore] | None = None,
    ) -> None:
        if inputs == "rgb" and store.color is None:
            raise ValueError("this store has no colour; generate one with --color")
        self._store = store
        self._inputs = inputs
        self._sensor = sensor
        self.prints = prints or PrintSettings()
        self.misregistration = misregistration or MisregistrationSettings()
        self.gives_clean = sensor is random_sensor
        self._reopen, self._holdout_every = reopen, holdout_every
        self._frames, self._held_out = split_holdout(store, holdout_every)

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def incomplete_share(self) -> float:
        """1 for colour alone and for a store that lacks it, else 0."""
        return float(self._inputs == "rgb" or (self._inputs == "rgbd" and self._store.color is None))

    def images(self, index: int, rng: np.random.Generator) -> Images:
        """A frame with sensor noise, prints and colour beside the depth, all drawn from `rng`."""
        clean = self.clean_images(index)
        depth_m, ids, color = clean.depth_m, clean.ids, clean.color_rgb
        if self._inputs != "rgb":
            depth_m = self._sensor(depth_m, clean.intrinsics, rng, clean.behind_m)
        if color is not None:
            color = paint_prints(color, ids, rng, self.prints)
            moved = self.misregistration
            if depth_m.any() and rng.random() < moved.probability:
                limit_px = moved.largest_share * ids.shape[1]
                right_px, down_px = rng.uniform(-limit_px, limit_px, 2).tolist()
                color = misregister(color, depth_m > 0, (right_px, down_px))
        return Images(depth_m, ids, clean.intrinsics, clean.class_ids, color)

    def clean_images(self, index: int) -> Images:
        """A frame of the store, with what lies behind clear surfaces."""
        store, frame = self._store, self._frames[index]
        has_depth, has_color = self._inputs != "rgb", store.color is not None and self._inputs != "depth"
        return Images(
            store.depth_m(frame) if has_depth else np.zeros(store.depth.shape[1:], dtype=np.float32),
            np.array(store.ids[frame]),
            np.array(store.intrinsics[frame]),
            np.zeros(IGNORE_ID - 1, np.int64),
            np.array(store.color[frame]) if store.color is not None and has_color else None,
            store.behind_m(frame) if has_depth else None,
        )

    def refresh(self) -> bool:
        """Takes in the frames that have been finished since, where the store grows; whether it may still grow."""
        if self._reopen is None:
            return False
        self._store = self._reopen()
        self._frames, self._held_out = split_holdout(self._store, self._holdout_every)
        return len(self._store) < self._store.meta["frames"]

    def facts(self) -> dict[str, Any]:
        """The store's settings and the numbers of frames."""
        return {
            "store": self._store.meta,
            "frames": len(self._frames),
            "frames_held_out": len(self._held_out),
            "prints": asdict(self.prints),
            "misregistration": asdict(self.misregistration),
        }


def split_holdout(store: SceneStore, every: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames to train on and frames kept aside: the scenes whose number is a multiple of `every`."""
    held = store.scene_id[store.frames] % every == 0
    return store.frames[~held], store.frames[held]
