"""A table, objects, what stands around them and a free parallel-jaw gripper in MuJoCo.

The world frame has z up and its origin on the table, in the middle of the objects. The gripper's axes are those of a
grasp: x closes, z approaches, the origin lies midway between the fingertips.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

import mujoco
import numpy as np
import trimesh
from numpy.typing import NDArray

from instance_seg_ros.core.parameters import GripperSettings
from instance_seg_ros.learning.synthetic.objects.mjcf import geom_xml, numbers
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape

FloatArray = NDArray[np.float64]

SHAKE_M = 0.015
SHAKE_HZ = 4.0

_TIMESTEP_S = 0.002
_APPROACH_SPEED_M_S = 0.2
_TAKING_SPEED_M_S = 0.25
_DENSITY_KG_M3 = 400.0
_TABLE_FRICTION = "0.5 0.003 0.0003"
_CHECK_EVERY = 5  # steps
_DIGITS = 7  # of the model's numbers
_AT_REST_M_S = 0.02
_NOSLIP_ITERATIONS = 10
_PARKED_M = 3.0
"""How high the gripper waits, and how far away removed objects are."""
_TAKEN_SHARE = 0.6
"""What is held must have come so far of the way that it is taken."""
_GUIDE_HEIGHT_M = 0.4

# Bits of MuJoCo's contact types: the gripper touches objects and table, and never itself.
_BODIES, _GRIPPER, _NOTHING = 1, 2, 0
_WALL, _HAND = -2, -3


class Cause(enum.Enum):
    """How an attempt ended."""

    HELD = "held"
    NO_ROOM = "the opened gripper touched something before it approached"
    TOUCHED = "stopped by a touch on the approach, and then not held"
    MISSED = "closed on nothing"
    SQUEEZED_OUT = "touched the object, which got away while closing"
    SLIPPED = "lost while it was taken away"
    SHAKEN_OFF = "lost while shaking"


@dataclass(frozen=True)
class Attempt:
    """What became of a grasp.

    Attributes:
        cause: `HELD`, or how it failed.
        held: index of the object that is held at the end; None for none.
        touched: what stopped the approach: "nothing", "table", "wall" or "object N" by its index.
        opening_m: between the fingers at the end.
        moments: what the world looked like, by a name.
    """

    cause: Cause
    held: int | None
    touched: str
    opening_m: float
    moments: dict[str, Moment]

    @property
    def success(self) -> bool:
        """Whether an object is held after lifting and shaking."""
        return self.cause is Cause.HELD


@dataclass(frozen=True)
class Moment:
    """Poses at one time.

    Attributes:
        T_world_object: (N, 4, 4).
        T_world_gripper: (4, 4).
        opening_m: between the fingers.
    """

    T_world_object: FloatArray
    T_world_gripper: FloatArray
    opening_m: float


@dataclass(frozen=True)
class Block:
    """A fixed upright cuboid: a board or a wall.

    Attributes:
        size_m: its full sides.
        centre_m: of its volume.
    """

    size_m: tuple[float, float, float]
    centre_m: tuple[float, float, float]


TAKE_UP_M = ((0.0, 0.0, 0.2),)
"""The way that what is held takes off a table."""


@dataclass
class GraspWorld:
    """Objects on a table, and a gripper that tries grasps on them.

    Meshes touch by MuJoCo's native collision code: with the older one (libccd), plain grasps of blocks 10 to 30 mm wide
    are squeezed out, which statics says must hold. The solver's extra iterations against slip keep
    friction to Coulomb's law: without them objects creep out of grasps that lie well inside the friction cone.

    Args:
        shapes: the objects, convex pieces each.
        T_world_object: (N, 4, 4) where they start.
        gripper: its sizes, and the force that it closes with.
        friction: coefficient between pads and objects.
        guides_m: half sides along x and y of a rectangle of walls that `without_guides` removes; zeros for none.
        walls: what stands around the objects for good.
        way_out_m: the straight pieces of the way that what is held is taken, world frame.
    """

    shapes: Sequence[ObjectShape]
    T_world_object: FloatArray
    gripper: GripperSettings
    friction: float
    guides_m: tuple[float, float] = (0.0, 0.0)
    walls: Sequence[Block] = ()
    way_out_m: Sequence[tuple[float, float, float]] = TAKE_UP_M
    present: list[bool] = field(init=False)

    def __post_init__(self) -> None:
        self.present = [True] * len(self.shapes)
        self._model = mujoco.MjModel.from_xml_string(self._xml())
        self._data = mujoco.MjData(self._model)
        named = self._model.geom
        self._owner = np.full(self._model.ngeom, -1)  # index of the object, -1 table and guides, or these:
        for index in range(self._model.ngeom):
            kind, *number = named(index).name.split()
            self._owner[index] = int(number[0]) if kind == "object" else {"gripper": _HAND, "wall": _WALL}.get(kind, -1)
        self._fingers = [self._model.geom(f"gripper finger{side}").id for side in (0, 1)]
        self._hand = self._model.body("hand").id
        self._hand_joints = [self._model.joint(name).qposadr[0] for name in ("x", "y", "z", "finger0", "finger1")]
        self._hand_speeds = [self._model.joint(name).dofadr[0] for name in ("x", "y", "z", "finger0", "finger1")]
        self._object_joints = [self._model.joint(f"free{i}").qposadr[0] for i in range(len(self.shapes))]
        self._object_speeds = [self._model.joint(f"free{i}").dofadr[0] for i in range(len(self.shapes))]
        self._park()

    def settle(self, longest_s: float = 2.0) -> None:
        """Lets everything come to rest."""
        speeds = np.concatenate([np.arange(adr, adr + 6) for adr in self._object_speeds]).astype(int)
        for done in range(round(longest_s / _TIMESTEP_S / 50)):
            mujoco.mj_step(self._model, self._data, 50)
            if done >= 4 and np.abs(self._data.qvel[speeds]).max() < _AT_REST_M_S:
                break

    def without_guides(self) -> None:
        """Takes the guides away."""
        for index in range(self._model.ngeom):
            if self._model.geom(index).name.startswith("guide"):
                self._model.geom_contype[index] = self._model.geom_conaffinity[index] = _NOTHING

    def poses(self) -> FloatArray:
        """(N, 4, 4) the objects' poses in the world now."""
        poses = np.tile(np.eye(4), (len(self.shapes), 1, 1))
        for pose, adr in zip(poses, self._object_joints, strict=True):
            pose[:] = trimesh.transformations.quaternion_matrix(self._data.qpos[adr + 3 : adr + 7])
            pose[:3, 3] = self._data.qpos[adr : adr + 3]
        return poses

    def remove(self, index: int) -> None:
        """Takes an object out of the world."""
        self.present[index] = False
        at, speed = self._object_joints[index], self._object_speeds[index]
        self._data.qpos[at : at + 3] = [_PARKED_M + index, _PARKED_M, _PARKED_M]
        self._data.qvel[speed : speed + 6] = 0.0
        own = self._owner == index
        self._model.geom_contype[own] = self._model.geom_conaffinity[own] = _NOTHING
        self._model.body_gravcomp[self._model.body(f"object{index}").id] = 1.0
        mujoco.mj_forward(self._model, self._data)

    def attempt(self, T_world_grasp: FloatArray, opening_m: float, approach_m: float) -> Attempt:
        """Tries a grasp: approach, stop at a touch, close, lift and shake; afterwards the gripper is gone.

        Args:
            T_world_grasp: (4, 4) where the fingers are to close.
            opening_m: between the fingers on the approach.
            approach_m: length of the straight way in.
        """
        moments: dict[str, Moment] = {}
        start_m = self.poses()[:, :3, 3]
        # What lies still costs no time until it is touched; else the whole heap is computed at every step.
        self._model.opt.enableflags |= int(mujoco.mjtEnableBit.mjENBL_SLEEP)
        half_m = min(opening_m, self.gripper.max_opening_m) / 2
        self._place(T_world_grasp, half_m, approach_m)
        if self._touched() != "nothing":
            moments["before"] = self._moment(T_world_grasp)
            cause, touched, held = Cause.NO_ROOM, self._touched(), None
        else:
            touched = self._approach(half_m, approach_m)
            moments["at the grasp"] = self._moment(T_world_grasp)
            cause, held = self._close_and_take(T_world_grasp, start_m, moments)
            if not held and touched != "nothing":
                cause = Cause.TOUCHED
        opening_m = self._opening_m()
        self._model.opt.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
        self._model.opt.noslip_iterations = 0
        self._park()
        return Attempt(cause, held[0] if held else None, touched, opening_m, moments)

    def _close_and_take(
        self, T_world_grasp: FloatArray, start_m: FloatArray, moments: dict[str, Moment]
    ) -> tuple[Cause, list[int] | None]:
        self._model.opt.noslip_iterations = _NOSLIP_ITERATIONS
        was_touched = self._close()
        moments["closed"] = self._moment(T_world_grasp)
        if not self._between():
            return (Cause.SQUEEZED_OUT if was_touched else Cause.MISSED), None
        to_hand = T_world_grasp[:3, :3].T
        place_m = self._command()[:3]
        for piece_m in self.way_out_m:
            end_m = place_m + to_hand @ piece_m
            self._move_to(place_m, end_m, float(np.linalg.norm(piece_m)) / _TAKING_SPEED_M_S)
            place_m = end_m
        moments["taken away"] = self._moment(T_world_grasp)
        if not self._taken(start_m):
            return Cause.SLIPPED, None
        for axis in (0, 1):
            for step in range(round(2 / SHAKE_HZ / _TIMESTEP_S)):
                aside_m = SHAKE_M * np.sin(2 * np.pi * SHAKE_HZ * step * _TIMESTEP_S)
                self._data.ctrl[:3] = place_m + to_hand @ (aside_m * np.eye(3)[axis])
                mujoco.mj_step(self._model, self._data)
        self._data.ctrl[:3] = place_m
        mujoco.mj_step(self._model, self._data, round(0.2 / _TIMESTEP_S))
        moments["shaken"] = self._moment(T_world_grasp)
        held = self._taken(start_m)
        return (Cause.HELD, held) if held else (Cause.SHAKEN_OFF, None)

    # The gripper --------------------------------------------------------------------------------------------------

    def _park(self) -> None:
        """The gripper far above."""
        self._place(np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, _PARKED_M], [0, 0, 0, 1.0]]), 0.01, 0.0)

    def _place(self, T_world_grasp: FloatArray, half_m: float, approach_m: float) -> None:
        self._model.body_pos[self._hand] = T_world_grasp[:3, 3]
        self._model.body_quat[self._hand] = trimesh.transformations.quaternion_from_matrix(T_world_grasp)
        joints = np.array([0.0, 0.0, -approach_m, half_m, half_m])
        self._data.qpos[self._hand_joints] = joints
        self._data.qvel[self._hand_speeds] = 0.0
        self._data.ctrl[:] = joints
        mujoco.mj_forward(self._model, self._data)

    def _command(self) -> FloatArray:
        return np.array(self._data.ctrl)

    def _approach(self, half_m: float, approach_m: float) -> str:
        """The straight way in, until it touches something; returns what."""
        steps = max(1, round(approach_m / _APPROACH_SPEED_M_S / _TIMESTEP_S / _CHECK_EVERY))
        for step in range(1, steps + 1):
            self._data.ctrl[2] = -approach_m * (1 - step / steps)
            mujoco.mj_step(self._model, self._data, _CHECK_EVERY)
            if (touched := self._touched()) != "nothing":
                self._data.ctrl[2] = self._data.qpos[self._hand_joints[2]]
                return touched
        mujoco.mj_step(self._model, self._data, round(0.1 / _TIMESTEP_S))
        return self._touched()

    def _close(self) -> bool:
        """Closes until the fingers stand still; returns whether one of them touched something at some time."""
        self._data.ctrl[3:] = -0.05  # farther than they can go: the force is at its limit
        touched = False
        for step in range(round(1.2 / _TIMESTEP_S / _CHECK_EVERY)):
            mujoco.mj_step(self._model, self._data, _CHECK_EVERY)
            touched = touched or any(len(ids) > 0 for ids in self._fingertip_contacts())
            if step > 30 and np.abs(self._data.qvel[self._hand_speeds[3:]]).max() < 1e-3:
                break
        mujoco.mj_step(self._model, self._data, round(0.1 / _TIMESTEP_S))
        return touched

    def _move_to(self, start_m: FloatArray, end_m: FloatArray, duration_s: float) -> None:
        steps = round(duration_s / _TIMESTEP_S)
        for step in range(1, steps + 1):
            share = 0.5 - 0.5 * np.cos(np.pi * step / steps)  # starts and stops softly
            self._data.ctrl[:3] = start_m + share * (end_m - start_m)
            mujoco.mj_step(self._model, self._data)
        mujoco.mj_step(self._model, self._data, round(0.1 / _TIMESTEP_S))

    def _opening_m(self) -> float:
        return float(self._data.qpos[self._hand_joints[3:]].sum())

    def _moment(self, T_world_grasp: FloatArray) -> Moment:
        T_world_gripper = T_world_grasp.copy()
        T_world_gripper[:3, 3] += T_world_grasp[:3, :3] @ self._data.qpos[self._hand_joints[:3]]
        return Moment(self.poses(), T_world_gripper, self._opening_m())

    # What touches what --------------------------------------------------------------------------------------------

    def _touched(self) -> str:
        contact = self._data.contact
        for (first, second), distance_m in zip(contact.geom, contact.dist, strict=True):
            owners = {int(self._owner[first]), int(self._owner[second])}
            if _HAND in owners and distance_m < 0:
                other = max(owners)
                return f"object {other}" if other >= 0 else "wall" if other == _WALL else "table"
        return "nothing"

    def _fingertip_contacts(self) -> list[set[int]]:
        """The objects that each finger touches."""
        touching: list[set[int]] = [set(), set()]
        for pair, distance_m in zip(self._data.contact.geom, self._data.contact.dist, strict=True):
            for side, finger in enumerate(self._fingers):
                if finger in pair and distance_m < 0:
                    touching[side].add(int(self._owner[pair].max()))
        return touching

    def _between(self) -> list[int]:
        """The objects that both fingers touch."""
        first, second = self._fingertip_contacts()
        return sorted(index for index in first & second if index >= 0)

    def _taken(self, start_m: FloatArray) -> list[int]:
        """The objects between the fingers that have come along with them."""
        way_m = np.sum(self.way_out_m, axis=0)
        moved = (self.poses()[:, :3, 3] - start_m) @ way_m / (way_m @ way_m)
        return [index for index in self._between() if moved[index] > _TAKEN_SHARE]

    # The model ----------------------------------------------------------------------------------------------------

    def _xml(self) -> str:
        assets, bodies = [], []
        for index, (shape, pose) in enumerate(zip(self.shapes, self.T_world_object, strict=True)):
            geoms = []
            for number, geom in enumerate(shape.geoms):
                name = f"object {index} {number}"
                text, asset = geom_xml(geom, name, f'name="{name}"', _DIGITS)
                geoms.append(text)
                assets.append(asset)
            position = numbers(pose[:3, 3], _DIGITS)
            quaternion = numbers(trimesh.transformations.quaternion_from_matrix(pose), _DIGITS)
            bodies.append(
                f'<body name="object{index}" pos="{position}" quat="{quaternion}">'
                f'<joint name="free{index}" type="free" damping="0.0002"/>{"".join(geoms)}</body>'
            )
        return (
            '<mujoco><size memory="256M"/>'
            f'<option timestep="{_TIMESTEP_S}" integrator="implicitfast" cone="elliptic" impratio="10">'
            '<flag multiccd="enable"/></option>'
            f'<default><geom condim="6" friction="{_TABLE_FRICTION}" density="{_DENSITY_KG_M3}" solref="0.006 1" '
            f'contype="{_BODIES}" conaffinity="{_BODIES | _GRIPPER}"/></default>'
            f"<asset>{''.join(assets)}</asset><worldbody>"
            f'<geom name="table" type="plane" size="2 2 0.1"/>{self._walls_xml()}{self._guides_xml()}'
            f"{''.join(bodies)}{self._hand_xml()}"
            "</worldbody>"
            '<equality><joint joint1="finger0" joint2="finger1" solref="0.004 1"/></equality>'
            f"<actuator>{self._actuators_xml()}</actuator></mujoco>"
        )

    def _walls_xml(self) -> str:
        return "".join(
            f'<geom name="wall {i}" type="box" pos="{numbers(wall.centre_m, _DIGITS)}" '
            f'size="{numbers(np.asarray(wall.size_m) / 2, _DIGITS)}"/>'
            for i, wall in enumerate(self.walls)
        )

    def _guides_xml(self) -> str:
        if not any(self.guides_m):
            return ""
        thick, (half_x, half_y) = 0.02, self.guides_m
        return "".join(
            f'<geom name="guide{i}" type="box" '
            f'pos="{x * (half_x + thick)} {y * (half_y + thick)} {_GUIDE_HEIGHT_M / 2}" '
            f'size="{thick if x else half_x} {thick if y else half_y} {_GUIDE_HEIGHT_M / 2}"/>'
            for i, (x, y) in enumerate(((1, 0), (-1, 0), (0, 1), (0, -1)))
        )

    def _hand_xml(self) -> str:
        """The hand on three slides along its own axes, so that it keeps its rotation, and two coupled fingers."""
        g = self.gripper
        common = f'contype="{_GRIPPER}" conaffinity="{_NOTHING}" priority="1" condim="4" mass="0.2"'
        grip = f'friction="{self.friction} 0.002 0.0001"'
        slides = "".join(
            f'<joint name="{axis}" type="slide" axis="{vector}"/>'
            for axis, vector in (("x", "1 0 0"), ("y", "0 1 0"), ("z", "0 0 1"))
        )
        palm_z = -g.finger_length_m - g.palm_depth_m / 2
        palm = (
            f'<geom name="gripper palm" type="box" pos="0 0 {palm_z}" '
            f'size="{g.palm_width_m / 2} {g.palm_height_m / 2} {max(g.palm_depth_m / 2, 1e-3)}" {common}/>'
        )
        fingers = "".join(
            f'<body name="finger body{side}" gravcomp="1"><joint name="finger{side}" type="slide" axis="{sign} 0 0" '
            f'range="0 {g.max_opening_m / 2 + 1e-3}" limited="true" solreflimit="0.004 1" damping="100"/>'
            f'<geom name="gripper finger{side}" type="box" '
            f'pos="{sign * g.finger_thickness_m / 2} 0 {-g.finger_length_m / 2}" '
            f'size="{g.finger_thickness_m / 2} {g.finger_width_m / 2} {g.finger_length_m / 2}" {common} {grip}/></body>'
            for side, sign in enumerate((-1, 1))
        )
        return f'<body name="hand" gravcomp="1">{slides}{palm}{fingers}</body>'

    def _actuators_xml(self) -> str:
        arm = "".join(f'<position joint="{axis}" kp="40000" kv="300"/>' for axis in "xyz")
        force = f'forcerange="-{self.gripper.force_n} {self.gripper.force_n}"'
        return arm + "".join(f'<position joint="finger{side}" kp="3000" {force}/>' for side in (0, 1))
