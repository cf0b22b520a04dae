"""Rounds: a planner clears a scene, one grasp after the other."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from instance_seg_ros.core.parameters import PipelineSettings
from instance_seg_ros.core.status import PARTLY_SEEN
from instance_seg_ros.learning.grasp_simulation.object_sets import OBJECT_SETS
from instance_seg_ros.learning.grasp_simulation.planners import Perception, Planner
from instance_seg_ros.learning.grasp_simulation.scenes import SCENES, Stage, steady
from instance_seg_ros.learning.grasp_simulation.world import Attempt
from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS

FloatArray = NDArray[np.float64]

_FAILURES_THAT_END = 2
_MOST_ATTEMPTS = 20
_OFF_M = 0.005
_BEYOND_M = 0.012
"""How far outside a planned contact the true surface is looked for first: farther out may be another limb."""
_MOSTLY = 0.5
"""Share of an instance's pixels that must be one object's for the instance to be that object."""


@dataclass(frozen=True)
class AttemptRecord:
    """An attempt as it is written to the results.

    Attributes:
        family: of the object that the instance mostly covers; "" for none.
        quality: that the planner gave; None for one that gives none.
        width_m: planned distance of the contacts.
        cause: name of a `Cause`.
        touched: what stopped the approach: "nothing", "itself" (the object to grasp), "table", "wall" or "object N".
        contact_error_m: by how much the planned contacts lie outside (+) or inside (-) the true surface along the
            closing axis, the two of them; None where the closing line misses the object.
        surface_angles_deg: angle between the closing axis and the true surface's normal there, 0 to 90, likewise.
        held_family: of what is held; "" for nothing.
        marks: what the quality was computed from; empty for a planner that gives none.
        in_part: whether the instance had a status that says that a part of it was not seen; None where that is not
            known.
    """

    family: str
    quality: float | None
    width_m: float
    cause: str
    touched: str
    contact_error_m: tuple[float, float] | None
    surface_angles_deg: tuple[float, float] | None
    held_family: str
    marks: tuple[float, ...] = ()
    in_part: bool | None = None

    @property
    def success(self) -> bool:
        """Whether an object was held at the end."""
        return self.cause == "HELD"


@dataclass(frozen=True)
class RoundRecord:
    """A round as it is written to the results.

    Attributes:
        scene: one of `SCENES`.
        planner: name.
        seed: of the round.
        objects: how many there were.
        cleared: how many were held at the end of an attempt and taken away.
        out_of_reach: how many rolled or were pushed away.
        ended: why the round ended.
        attempts: in their order.
        left: families of the objects that were left.
    """

    scene: str
    planner: str
    seed: int
    objects: int
    cleared: int
    out_of_reach: int
    ended: str
    attempts: tuple[AttemptRecord, ...]
    left: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For a line of the results."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RoundRecord:
        """From a line of the results."""
        attempts = tuple(AttemptRecord(**attempt) for attempt in content.pop("attempts"))
        return cls(attempts=attempts, **{**content, "left": tuple(content.pop("left"))})


Watcher = Callable[[int, AttemptRecord, Attempt, Stage], None]


@dataclass(frozen=True)
class RoundSettings:
    """What all rounds of a run have in common.

    Attributes:
        objects: one of `OBJECT_SETS`.
        sensor: one of the sensors' presets.
        friction: coefficient between pads and objects.
        with_color: whether frames have colours; true masks do not need them.
    """

    objects: str
    sensor: str
    friction: float
    with_color: bool


def run_round(
    scene: str,
    planner: tuple[str, Planner],
    seed: int,
    settings: RoundSettings,
    pipeline: PipelineSettings,
    perception: Perception,
    watch: Watcher | None = None,
) -> RoundRecord:
    """A round: it ends when the table is empty, without a grasp, or after two failures in a row.

    The scene, its looks and the camera's noise follow from scene and seed alone, so planners meet the same ones.

    Args:
        planner: name and function.
        watch: sees every attempt, by its number.
    """
    rng = np.random.default_rng([seed, zlib.crc32(f"{scene} {settings.objects}".encode())])
    kind = SCENES[scene]
    world = kind.make(rng, OBJECT_SETS[settings.objects], pipeline.gripper, settings.friction)
    stage = Stage(world, rng, steady(PRESETS[settings.sensor]), kind.view)
    noise = int(rng.integers(2**31))
    out, cleared, failures, ended = len(stage.clear_out_of_reach()), 0, 0, "too many attempts"
    attempts: list[AttemptRecord] = []
    for number in range(_MOST_ATTEMPTS):
        if not any(world.present):
            ended = "empty"
            break
        frame, labels = stage.frame(noise + number, settings.with_color)
        seen = perception.see(frame, labels)
        proposal = planner[1](frame, seen)
        if proposal is None:
            ended = "no instance" if not len(seen.instances) else "no grasp"
            break
        target = _target(labels, seen.instances.masks[proposal.label - 1])
        T_world_grasp = (stage.T_world_camera @ proposal.T_camera_grasp).matrix
        truth = None
        if target is not None:
            T_object_grasp = np.linalg.inv(world.poses()[target]) @ T_world_grasp
            truth = contacts_against_truth(world.shapes[target].mesh, T_object_grasp, proposal.width_m)
        error_m, angles_deg = truth or (None, None)
        attempt = world.attempt(T_world_grasp, proposal.opening_m, proposal.approach_m)
        family = "" if target is None else world.shapes[target].family
        held = "" if attempt.held is None else world.shapes[attempt.held].family
        width_m, cause = round(proposal.width_m, 5), attempt.cause.name
        marks = tuple(round(mark, 5) for mark in proposal.marks)
        touched = "itself" if attempt.touched == f"object {target}" else attempt.touched
        in_part = bool(seen.lifted.instances[proposal.label - 1].status & PARTLY_SEEN)
        facts = (touched, error_m, angles_deg, held, marks, in_part)
        record = AttemptRecord(family, proposal.quality, width_m, cause, *facts)
        attempts.append(record)
        if watch is not None:
            watch(number, record, attempt, stage)
        if attempt.held is not None:
            world.remove(attempt.held)
            cleared += 1
        failures = 0 if attempt.success else failures + 1
        if failures == _FAILURES_THAT_END:
            ended = "two failures"
            break
        world.settle()
        out += len(stage.clear_out_of_reach())
    left = tuple(shape.family for shape, present in zip(world.shapes, world.present, strict=True) if present)
    return RoundRecord(scene, planner[0], seed, len(world.shapes), cleared, out, ended, tuple(attempts), left)


def _target(labels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> int | None:
    """Index of the object that most of the mask's pixels see."""
    counts = np.bincount(labels[mask], minlength=1)
    best = int(np.argmax(counts))
    return best - 1 if best > 0 and counts[best] > _MOSTLY * counts.sum() else None


def contacts_against_truth(
    mesh: trimesh.Trimesh, T_object_grasp: FloatArray, width_m: float
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The planned contacts of a grasp against the true surface along the closing line, None where that misses it.

    Args:
        mesh: the true surface, which faces may wind either way of.
        T_object_grasp: (4, 4).
        width_m: planned distance of the contacts.

    Returns:
        errors_m: by how much the contacts at -x and +x lie outside (+) or inside (-) the surface.
        angles_deg: between the closing axis and the surface's normal there, 0 to 90.
    """
    origin_m, closing = T_object_grasp[:3, 3], T_object_grasp[:3, 0]
    errors, angles = [], []
    for outwards in (-closing, closing):
        start_m = origin_m + (width_m / 2 + _BEYOND_M) * outwards
        hit = _first_hit(mesh, start_m, -outwards)
        if hit is not None and (hit[1] - origin_m) @ outwards < 0:  # started inside: the surface is farther out
            hit = _first_hit(mesh, start_m, outwards) or hit
        if hit is None:
            return None
        errors.append(round(width_m / 2 - float((hit[1] - origin_m) @ outwards), 5))
        cosine = abs(float(mesh.face_normals[hit[0]] @ closing))
        angles.append(round(float(np.degrees(np.arccos(min(cosine, 1.0)))), 1))
    return (errors[0], errors[1]), (angles[0], angles[1])


def _first_hit(mesh: trimesh.Trimesh, start_m: FloatArray, along: FloatArray) -> tuple[int, FloatArray] | None:
    """The first triangle that a ray hits, and the place (3,)."""
    triangles, _, places_m = mesh.ray.intersects_id(
        start_m[None], along[None], return_locations=True, multiple_hits=False
    )
    return (int(triangles[0]), places_m[0]) if len(triangles) else None


def explanation(record: AttemptRecord, max_opening_m: float) -> str:
    """What was wrong with a failed grasp, as far as truth tells: "" where plan and truth agree."""
    faults: Sequence[tuple[bool, str]] = (
        (record.touched == "itself", "the open gripper met the object itself"),
        (record.touched.startswith("object"), "it met another object"),
        (record.touched == "wall", "it met a wall or a board"),
        (record.contact_error_m is None, "the closing line misses the object"),
        (min(record.contact_error_m or (0.0,)) < -_OFF_M, "a contact lies inside the body"),
        (max(record.contact_error_m or (0.0,)) > _OFF_M, "a contact lies outside the body"),
        (max(record.surface_angles_deg or (0.0,)) > 30, "a surface is turned by more than 30 degrees"),
        (record.width_m > 0.9 * max_opening_m, "wider than nine tenths of the opening"),
    )
    return ", ".join(text for wrong, text in faults if wrong)
