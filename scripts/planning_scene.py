"""Do the boxes of the planning scene hold the true objects, and do grasps touch them? FCL judges, as in MoveIt.

python scripts/planning_scene.py --scenes 6 --seed 600          (pip install python-fcl)

looks at simulated scenes of every kind with exact truth, under true masks, and makes of each answer what
`instance_seg_ros.messages.planning_scene` sends to move_group. Prints how far the solids of the simulation stick out of
their boxes, and how many grasps have the gripper in the box of another object, of their own, or in a surface: where the
straight way in begins (hand opened), and on that way and while it closes.
"""

from __future__ import annotations

import argparse
import itertools
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import fcl
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate
from tqdm import tqdm

from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import GripperSettings, PipelineSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import Grasp
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.learning.grasp_simulation.object_sets import OBJECT_SETS
from instance_seg_ros.learning.grasp_simulation.reach import seen_of
from instance_seg_ros.learning.grasp_simulation.scenes import SCENES, Stage, steady
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape
from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.messages.outgoing import instance_array
from instance_seg_ros.messages.planning_scene import OBJECT, Body, Contents, PlanningSceneKeeper
from instance_seg_ros.messages.types import load_typestore, message_factory
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.segmentation import ModelInfo

FEWEST_PX = 200
"""Of objects of which less is seen nothing is asked."""
OUT_M = 0.005
"""More than this out of a box is counted."""
_CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
_MAKE = message_factory(load_typestore())
_MODEL = ModelInfo("true masks", "1", ("object",), 0.5, 0.5, "0" * 64)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Touches:
    """What a gripper's boxes meet: the box of another object, that of its own, a surface."""

    others: bool
    own: bool
    surfaces: bool


def solid_of(body: Body) -> fcl.CollisionObject:
    """A body as FCL has it."""
    if isinstance(body, OrientedBox):
        return _box(body.size_m, body.T_camera_box)
    mesh = fcl.BVHModel()
    mesh.beginModel(len(body.corners_m), len(body.triangles))
    mesh.addSubModel(body.corners_m, body.triangles.astype(np.int64))
    mesh.endModel()
    return fcl.CollisionObject(mesh)


def _box(size_m: Sequence[float] | FloatArray, pose: Transform) -> fcl.CollisionObject:
    return fcl.CollisionObject(fcl.Box(*size_m), fcl.Transform(pose.rotation, pose.translation_m))


def gripper_at(gripper: GripperSettings, grasp: Grasp, back_m: float, sweep_m: float, closes: bool) -> Iterator[Body]:
    """The gripper as boxes, opened, some way back and swept from there on; and what its fingers sweep closing."""
    half_m = grasp.opening_m / 2
    inner_m = grasp.width_m / 2 if closes else half_m
    outer_m = half_m + gripper.finger_thickness_m
    for side in (-1, 1):
        size_m = (outer_m - inner_m, gripper.finger_width_m, gripper.finger_length_m + sweep_m)
        middle_m = (side * (inner_m + outer_m) / 2, 0.0, -back_m + sweep_m / 2 - gripper.finger_length_m / 2)
        yield OrientedBox(grasp.T_camera_grasp @ Transform(np.eye(3), np.array(middle_m)), np.array(size_m))
    size_m = (gripper.palm_width_m, gripper.palm_height_m, gripper.palm_depth_m + sweep_m)
    middle_m = (0.0, 0.0, -back_m + sweep_m / 2 - gripper.finger_length_m - gripper.palm_depth_m / 2)
    yield OrientedBox(grasp.T_camera_grasp @ Transform(np.eye(3), np.array(middle_m)), np.array(size_m))


def touches(parts: Sequence[Body], own: str, solids: dict[str, fcl.CollisionObject]) -> Touches:
    """What some boxes meet among the bodies of a scene."""
    met = {
        name
        for name, solid in solids.items()
        for part in parts
        if fcl.collide(solid_of(part), solid, fcl.CollisionRequest(), fcl.CollisionResult())
    }
    objects = {name for name in met if name.startswith(OBJECT)}
    return Touches(bool(objects - {own}), own in objects, bool(met - objects))


def vertices_m(shape: ObjectShape, T_world_shape: FloatArray) -> FloatArray:
    """(N, 3) corners of the convex pieces of an object: what holds them holds it."""
    pieces = [
        _CORNERS * geom.size_m + geom.position_m if geom.vertices_m is None else geom.vertices_m for geom in shape.geoms
    ]
    return np.asarray(np.concatenate(pieces) @ T_world_shape[:3, :3].T + T_world_shape[:3, 3])


def out_m(points_m: FloatArray, box: OrientedBox) -> float:
    """How far the farthest of some points is out of a box."""
    beyond_m = np.abs(box.T_camera_box.inverse().apply(points_m)) - box.size_m / 2
    return float(np.linalg.norm(np.maximum(beyond_m, 0), axis=1).max())


def judged(
    kind: str, seed: int, settings: PipelineSettings, sensor: str
) -> tuple[list[tuple[Status, float]], list[tuple[int, Touches, Touches]]]:
    """Of one scene, each object's status and how far it sticks out; each grasp's rank, and what it meets at the
    beginning of its way in and from there on."""
    rng = np.random.default_rng([seed, zlib.crc32(f"{kind} development".encode())])
    world = SCENES[kind].make(rng, OBJECT_SETS["development"], settings.gripper, settings.gripper.pad_friction)
    stage = Stage(world, rng, steady(PRESETS[sensor]), SCENES[kind].view)
    frame, labels = stage.frame(seed, with_color=False)
    pixels = np.bincount(labels.ravel(), minlength=len(world.shapes) + 1)
    shown = [label for label in range(1, len(pixels)) if pixels[label] >= FEWEST_PX]
    instances = Instances.from_labels(np.where(np.isin(labels, shown), labels, 0))
    lifted = Lifter(settings.lifting).lift(frame, instances)
    grasps = GraspSampler(settings.grasping, settings.gripper).sample(frame, lifted, instances)
    scene = Scene(frame, instances, lifted, grasps, tuple(range(1, len(shown) + 1)), _MODEL, {})
    keeper = PlanningSceneKeeper(fewest_frames=0, least_change_m=0.0)
    changes = keeper.changes(instance_array(_MAKE, scene), Transform.identity(), Contents([], []))
    bodies = {name: body for name, body in changes.items() if body is not None}
    T_camera_world, poses = stage.T_world_camera.inverse(), world.poses()
    objects, ways = [], []
    for item, label in zip(scene.objects(), shown, strict=True):
        box = bodies.get(f"{OBJECT}{item.track_id}")
        if isinstance(box, OrientedBox):
            true_m = T_camera_world.apply(vertices_m(world.shapes[label - 1], poses[label - 1]))
            objects.append((item.status, out_m(np.asarray(true_m, np.float64), box)))
    solids = {name: solid_of(body) for name, body in bodies.items()}
    for item in scene.objects():
        for rank, grasp in enumerate(item.grasps):
            way_m, own = grasp.approach_distance_m, f"{OBJECT}{item.track_id}"
            before = list(gripper_at(settings.gripper, grasp, way_m, 0.0, closes=False))
            after = [
                *gripper_at(settings.gripper, grasp, way_m, way_m, closes=False),
                *gripper_at(settings.gripper, grasp, 0.0, 0.0, closes=True),
            ]
            ways.append((rank, touches(before, own, solids), touches(after, own, solids)))
    return objects, ways


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scenes", type=int, default=6, help="of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=600, help="of the first scene (default: %(default)s)")
    parser.add_argument("--sensor", choices=tuple(PRESETS), default="active_stereo", help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    settings = PipelineSettings()
    out_mm: dict[str, list[float]] = defaultdict(list)
    met: dict[str, list[tuple[Touches, Touches]]] = defaultdict(list)
    todo = [(kind, options.seed + index) for index in range(options.scenes) for kind in SCENES]
    for kind, seed in tqdm(todo, unit="scene", leave=False):
        objects, ways = judged(kind, seed, settings, options.sensor)
        for status, far_m in objects:
            flags = status & ~(Status.NO_GRASP_CANDIDATE | Status.NO_COLLISION_FREE_GRASP)
            for group in ("all", seen_of(status), *(() if flags else ("status OK, but for grasps",))):
                out_mm[group].append(1e3 * far_m)
        for rank, before, after in ways:
            for group in ("all grasps", kind, *(() if rank else ("best of each object",))):
                met[group].append((before, after))
    sizes = [
        (group, len(all_mm), *_quantiles(all_mm), f"{100 * np.mean(np.array(all_mm) > 1e3 * OUT_M):.0f} %")
        for group, all_mm in out_mm.items()
    ]
    names = ["objects", "number", "out of the box, mm, median / 90th", "worst", f"more than {1e3 * OUT_M:.0f} mm"]
    print(tabulate(sizes, names, tablefmt="pipe", disable_numparse=True))
    shares = [(group, len(pairs), *_shares(pairs)) for group, pairs in met.items()]
    names = ["grasps", "number", "begin in others", "in their own", "on the way: others", "their own", "surfaces"]
    print(tabulate(shares, names, tablefmt="pipe", disable_numparse=True))


def _quantiles(all_mm: Sequence[float]) -> tuple[str, str]:
    return f"{np.median(all_mm):.1f} / {np.percentile(all_mm, 90):.1f}", f"{max(all_mm):.0f}"


def _shares(pairs: Sequence[tuple[Touches, Touches]]) -> Iterator[str]:
    for when, name in ((0, "others"), (0, "own"), (1, "others"), (1, "own"), (1, "surfaces")):
        yield f"{100 * np.mean([getattr(pair[when], name) for pair in pairs]):.0f} %"


if __name__ == "__main__":
    main()
