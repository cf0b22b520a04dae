"""A contact sheet of scenes: colour, clean depth, instances and measured depth of one view of each."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.pictures.shading import sample_lighting
from instance_seg_ros.learning.synthetic.rooms.scene import sample_scene
from instance_seg_ros.learning.synthetic.rooms.views import sample_view
from instance_seg_ros.learning.synthetic.sensors.sensor import SensorSettings, simulate_depth
from instance_seg_ros.learning.synthetic.store import SynthSettings

_PALETTE = np.random.default_rng(3).integers(60, 256, (256, 3)).astype(np.uint8)
_PALETTE[0] = 0


def write_contact_sheet(settings: SynthSettings, path: Path | str, rows: int = 6, columns: int = 2) -> None:
    """Write a PNG or JPEG of ``rows`` x ``columns`` scenes, each as colour, depth, instances and noised depth.

    Light and sensor are drawn separately: a store of the same seed has the same scenes and views under other light.

    Raises:
        ValueError: the name's ending is none of a picture.
        OSError: the file cannot be written.
    """
    if not cv2.haveImageWriter(str(path)):
        raise ValueError(f"cannot write {path}: use a name that ends with .png or .jpg")
    tiles = [_tile(settings, index) for index in range(rows * columns)]
    sheet = np.vstack([np.hstack(tiles[r * columns : (r + 1) * columns]) for r in range(rows)])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise OSError(f"cannot write {path}")


def _tile(settings: SynthSettings, scene_index: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng([settings.seed, scene_index])
    size_wh = (settings.width, settings.height)
    scene = sample_scene(rng, settings.family_names(), settings.max_objects)
    caster = RayCaster(scene.placed())
    view = sample_view(rng, scene, caster, size_wh)
    caster = RayCaster((*scene.placed(), *view.attached))
    cast = caster.cast(view.intrinsics, view.T_world_camera)
    color = caster.shade(cast, view.intrinsics, view.T_world_camera, sample_lighting(rng))
    behind_m = caster.behind(cast)
    measured = simulate_depth(cast.depth_m, view.intrinsics.fx, rng, SensorSettings.sample(rng), behind_m)
    scope = np.percentile(cast.depth_m[cast.depth_m > 0], [1, 92]) if (cast.depth_m > 0).any() else (0.0, 1.0)
    cells = [color, _depth_rgb(cast.depth_m, scope), _PALETTE[cast.ids], _depth_rgb(measured, scope)]
    return np.hstack([cv2.copyMakeBorder(cell, 1, 1, 1, 1, cv2.BORDER_CONSTANT) for cell in cells])


def _depth_rgb(depth_m: npt.NDArray[np.float32], scope: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    low, high = np.asarray(scope, float)
    grey = np.clip((depth_m - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    rgb = cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    rgb[depth_m == 0] = 0
    return np.asarray(rgb, np.uint8)
