"""How deep fingers reach into anything: each grasp of the pipeline, by brute force against the true solids.

python -m instance_seg_ros.learning.grasp_simulation.reach --scenes 40 --seed 1

looks at scenes of every kind, in half of them without the mask of one object, and prints how many grasps have a part of
the opened gripper in the object that they are for, on their whole way in, or a finger, until it is closed, in something
else. No code of the pipeline has a part in the verdict.
"""

from __future__ import annotations

import argparse
import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from tabulate import tabulate
from tqdm import tqdm

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import GripperSettings, PipelineSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import Grasp
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.learning.grasp_simulation.object_sets import OBJECT_SETS
from instance_seg_ros.learning.grasp_simulation.scenes import SCENES, Stage, steady
from instance_seg_ros.learning.grasp_simulation.world import Block
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape
from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS
from instance_seg_ros.lifting import Lifter

FloatArray = NDArray[np.float64]
_Range = tuple[float, float]

DEEP_M = 0.003
"""Less is no matter: pads give way by as much, and depth has as much noise."""
_IN_WALL_M = 0.001
"""Of walls that are 6 mm thick nothing is deeper than 3."""
_FINGER_STEP_M, _PALM_STEP_M = 0.003, 0.008
_BOX_CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
_FEWEST_PX = 200
"""Of objects of which less is seen nothing is asked."""


@dataclass(frozen=True, eq=False)
class Solid:
    """A true solid: the union of convex pieces.

    Attributes:
        pieces: (F, 4) of each, outward normals and offsets of its faces, world frame.
        centre_m: (3,) of a ball that holds it.
        radius_m: of that.
    """

    pieces: tuple[FloatArray, ...]
    centre_m: FloatArray
    radius_m: float

    @classmethod
    def of_points(cls, pieces_m: Sequence[FloatArray]) -> Solid:
        """The union of the convex hulls of points (N, 3) each."""
        all_m = np.concatenate(pieces_m)
        centre_m = (all_m.min(axis=0) + all_m.max(axis=0)) / 2
        radius_m = float(np.linalg.norm(all_m - centre_m, axis=1).max())
        return cls(tuple(ConvexHull(own_m).equations for own_m in pieces_m), centre_m, radius_m)

    @classmethod
    def of_shape(cls, shape: ObjectShape, T_world_shape: FloatArray) -> Solid:
        """An object, which consists of boxes and convex meshes, at a pose (4, 4)."""
        pieces_m = []
        for geom in shape.geoms:
            own_m = geom.vertices_m
            if own_m is None:
                own_m = _BOX_CORNERS * geom.size_m + geom.position_m
            pieces_m.append(own_m @ T_world_shape[:3, :3].T + T_world_shape[:3, 3])
        return cls.of_points(pieces_m)

    @classmethod
    def of_block(cls, block: Block) -> Solid:
        """A board or a wall."""
        return cls.of_points([_BOX_CORNERS * np.array(block.size_m) / 2 + block.centre_m])

    def deepest_m(self, points_m: FloatArray) -> float:
        """How deep the deepest of (N, 3) points lies under the surface of a piece; at most 0 where none is inside."""
        near_m = points_m[((points_m - self.centre_m) ** 2).sum(axis=1) < self.radius_m**2]
        deepest_m = 0.0
        for piece in self.pieces if len(near_m) else ():
            deepest_m = max(deepest_m, float((-near_m @ piece[:, :3].T - piece[:, 3]).min(axis=1).max()))
        return deepest_m


@dataclass(frozen=True)
class Reach:
    """How deep the gripper of one grasp reaches, metres.

    Attributes:
        scene: one of `SCENES`.
        seen: how much of the object was seen.
        own_m: into the object, with a finger or the palm, before it closes.
        masked_m, unmasked_m: into another object, until it is closed, that had a mask, and that had none.
        walls_m: into walls, boards and the table, likewise.
    """

    scene: str
    seen: str
    own_m: float
    masked_m: float
    unmasked_m: float
    walls_m: float


def swept_m(gripper: GripperSettings, grasp: Grasp, opened: bool) -> FloatArray:
    """A dense grid (N, 3) through what the opened gripper sweeps on its way in, or what fingers do while they close.

    In the frame of the grasp.
    """
    g, half_m, way_m = gripper, grasp.opening_m / 2, grasp.approach_distance_m
    inner_m, long_m = (half_m, g.finger_length_m + way_m) if opened else (grasp.width_m / 2, g.finger_length_m)
    y_m = (-g.finger_width_m / 2, g.finger_width_m / 2)
    x_m = (inner_m, half_m + g.finger_thickness_m)
    right_m = _grid(x_m, y_m, (-long_m, 0.0), _FINGER_STEP_M)
    palm_m = _grid(
        (-g.palm_width_m / 2, g.palm_width_m / 2),
        (-g.palm_height_m / 2, g.palm_height_m / 2),
        (-g.finger_length_m - g.palm_depth_m - way_m, -g.finger_length_m),
        _PALM_STEP_M,
    )
    fingers_m = np.concatenate([right_m, right_m * (-1.0, 1.0, 1.0)])
    return np.concatenate([fingers_m, palm_m]) if opened else fingers_m


def _grid(x_m: _Range, y_m: _Range, z_m: _Range, step_m: float) -> FloatArray:
    """Points (N, 3) through a box, no farther apart than a step."""
    axes = [np.linspace(low, high, 2 + int((high - low) / step_m)) for low, high in (x_m, y_m, z_m)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def seen_of(status: Status) -> str:
    """How much of an object was seen, in words."""
    for flag, words in (
        (Status.CUT_BY_IMAGE_BORDER, "cut by the border"),
        (Status.OCCLUDED, "hidden in part"),
        (Status.PARTLY_MEASURED, "measured in part"),
    ):
        if flag in status:
            return words
    return "whole"


def reaches(kind: str, seed: int, settings: PipelineSettings, sensor: str) -> tuple[list[Reach], dict[str, list[bool]]]:
    """Each grasp of one scene; and for each object whether it has one, by how much of it was seen."""
    rng = np.random.default_rng([seed, zlib.crc32(f"{kind} development".encode())])
    make = SCENES[kind].make
    world = make(rng, OBJECT_SETS["development"], settings.gripper, settings.gripper.pad_friction)
    stage = Stage(world, rng, steady(PRESETS[sensor]), SCENES[kind].view)
    frame, labels = stage.frame(seed, with_color=False)
    pixels = np.bincount(labels.ravel(), minlength=len(world.shapes) + 1)
    shown = [label for label in range(1, len(pixels)) if pixels[label] >= _FEWEST_PX]
    if len(shown) > 1 and rng.random() < 0.5:
        shown.remove(int(rng.choice(shown)))
    instances = Instances.from_labels(np.where(np.isin(labels, shown), labels, 0))
    lifted = Lifter(settings.lifting).lift(frame, instances)
    results = GraspSampler(settings.grasping, settings.gripper).sample(frame, lifted, instances)
    solids = [Solid.of_shape(*item) for item in zip(world.shapes, world.poses(), strict=True)]
    walls = [Solid.of_block(wall) for wall in world.walls]
    found: list[Reach] = []
    with_grasp: dict[str, list[bool]] = {}
    for label, instance, result in zip(shown, lifted.instances, results, strict=True):
        seen = seen_of(instance.status)
        with_grasp.setdefault(seen, []).append(bool(result.grasps))
        for grasp in result.grasps:
            pose = stage.T_world_camera @ grasp.T_camera_grasp
            opened_m, all_m = _swept_in_world_m(settings.gripper, grasp, pose)
            deep_m = [0.0, 0.0]
            for other, solid in enumerate(solids, start=1):
                if other != label:
                    which = int(other not in shown)
                    deep_m[which] = max(deep_m[which], solid.deepest_m(all_m))
            walls_m = max([-float(all_m[:, 2].min()), 0.0, *(wall.deepest_m(all_m) for wall in walls)])
            found.append(Reach(kind, seen, solids[label - 1].deepest_m(opened_m), deep_m[0], deep_m[1], walls_m))
    return found, with_grasp


def _swept_in_world_m(gripper: GripperSettings, grasp: Grasp, pose: Transform) -> tuple[FloatArray, FloatArray]:
    """What the opened gripper sweeps, (N, 3), and that with what its fingers sweep while they close."""
    opened_m, closing_m = (
        np.asarray(pose.apply(swept_m(gripper, grasp, opened)), dtype=np.float64) for opened in (True, False)
    )
    return opened_m, np.concatenate([opened_m, closing_m])


def table(found: Sequence[Reach], with_grasp: dict[tuple[str, str], list[bool]]) -> str:
    """By kind of scene and by how much was seen: how many grasps reach too deep, and how deep the worst of them."""

    def cell(depths_m: Sequence[float], limit_m: float) -> str:
        deep = sum(depth_m > limit_m for depth_m in depths_m)
        return f"{deep}, {1e3 * max(depths_m):.0f} mm" if deep else "0"

    names = {"own_m": DEEP_M, "masked_m": DEEP_M, "unmasked_m": DEEP_M, "walls_m": _IN_WALL_M}
    rows = []
    keys = [*sorted(with_grasp), *(("all", seen) for seen in sorted({seen for _, seen in with_grasp}))]
    for scene, seen in keys:
        own = [each for each in found if each.seen == seen and scene in ("all", each.scene)]
        objects = [
            has for key, all_of in with_grasp.items() if key[1] == seen and scene in ("all", key[0]) for has in all_of
        ]
        cells = [cell([getattr(each, name) for each in own], names[name]) if own else "-" for name in names]
        rows.append((scene, seen, f"{sum(objects)} of {len(objects)}", len(own), *cells))
    headers = ("scene", "seen", "with a grasp", "grasps", "in itself", "in others", "in what has no mask", "in walls")
    return tabulate(rows, headers, disable_numparse=True)


def _all(kinds: Sequence[str], count: int, seed: int) -> Iterator[tuple[str, int]]:
    return ((kind, seed + index) for index in range(count) for kind in kinds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scenes", type=int, default=40, help="of each kind (default: %(default)s)")
    parser.add_argument("--kinds", default=",".join(SCENES), help="comma-separated (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first scene (default: %(default)s)")
    parser.add_argument("--sensor", choices=tuple(PRESETS), default="active_stereo", help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    kinds, settings = options.kinds.split(","), PipelineSettings()
    unknown = [kind for kind in kinds if kind not in SCENES]
    if unknown:
        parser.error(f"--kinds must be of {', '.join(SCENES)}, not {', '.join(unknown)}")
    found: list[Reach] = []
    with_grasp: dict[tuple[str, str], list[bool]] = {}
    todo = list(_all(kinds, options.scenes, options.seed))
    for kind, seed in tqdm(todo, unit="scene", leave=False):
        own, objects = reaches(kind, seed, settings, options.sensor)
        found += own
        for seen, has in objects.items():
            with_grasp.setdefault((kind, seen), []).extend(has)
    print(table(found, with_grasp))
    print(
        f"{options.scenes} scenes of each kind from seed {options.seed}; deeper than {1e3 * DEEP_M:.0f} mm, in walls "
        f"than {1e3 * _IN_WALL_M:.0f}"
    )


if __name__ == "__main__":
    main()
