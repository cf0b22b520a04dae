"""Scenes that share no code with lifting or with the generated scenes of `eval --geometry`: an independent judge.

Primitives are dropped onto a table by MuJoCo, which also casts the rays; the noise is that of disparities, in steps of
a sixteenth of a pixel; centres are MuJoCo's own, sides come from how far each primitive reaches. As a script it prints
how far lifting is off: python test/lifting/mujoco_scenes.py --scenes 60 --seed 31
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import mujoco
import numpy as np

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.learning.grasp_simulation.statistics import Share
from instance_seg_ros.lifting import Instance3D, Lifter, Support
from instance_seg_ros.lifting.order import removal_order

WIDTH, HEIGHT, FOCAL_PX = 640, 480, 610.0
BASELINE_M, DISPARITY_NOISE_PX, DISPARITY_STEP_PX = 0.05, 0.05, 1 / 16
KINDS = ("spread", "pile")
SEEN_PX = 300
ALONE_STRIDE_PX = 3
CARRIES = 0.2
GOES_ON_STEPS = 250
MOVES_M = 0.005


@dataclass(frozen=True)
class Truth:
    """One object: what it is, its volume's centre (3,) in the camera's frame, its sides and its visible share.

    `size_m` has the sides of the smallest upright box, the longer horizontal one first and the height last. `carried`
    says which shares of its weight the table (0) and other objects (their labels) carry, by the forces of contacts.
    `moves` holds the labels of those objects that move by more than 5 mm within a second when it is taken away, and do
    not when it is not. `reach_m` tells how far the object reaches from the camera along (N, 3) directions in its frame.
    """

    kind: str
    shape: str
    centre_m: np.ndarray
    size_m: np.ndarray
    visible: float
    carried: dict[int, float]
    moves: frozenset[int]
    reach_m: Callable[[np.ndarray], np.ndarray]


def scenes(count: int, seed: int) -> Iterator[tuple[RgbdFrame, np.ndarray, dict[int, Truth]]]:
    """Frames, their labels (H, W) and the truth of each label; scene i of a seed is always the same."""
    for index in range(count):
        yield _scene(np.random.default_rng([seed, index]), KINDS[index % len(KINDS)])


def _body(rng: np.random.Generator) -> tuple[str, str]:
    """A shape's name and its geoms as MJCF."""
    a, b, c = rng.uniform(0.02, 0.06, 3)
    high = rng.uniform(0.03, 0.1)
    shape = str(rng.choice(["box", "box", "cylinder", "cylinder", "ellipsoid", "capsule", "sphere", "hammer", "angle"]))
    geoms = {
        "box": f'<geom type="box" size="{a} {b} {high}"/>',
        "cylinder": f'<geom type="cylinder" size="{a} {high}"/>',
        "ellipsoid": f'<geom type="ellipsoid" size="{a} {b} {c}"/>',
        "capsule": f'<geom type="capsule" size="{0.7 * a} {high}"/>',
        "sphere": f'<geom type="sphere" size="{a}"/>',
        "hammer": f'<geom type="box" size="0.045 0.02 0.02"/>'
        f'<geom type="cylinder" size="0.012 {high}" pos="0 0 {0.02 + high}"/>',
        "angle": f'<geom type="box" size="0.06 0.015 {b}"/>'
        f'<geom type="box" size="0.015 0.035 {b}" pos="-0.045 0.05 0"/>',
    }
    return shape, geoms[shape]


def _scene(rng: np.random.Generator, kind: str) -> tuple[RgbdFrame, np.ndarray, dict[int, Truth]]:
    names, bodies = [], []
    for index in range(int(rng.integers(4, 9))):
        name, geoms = _body(rng)
        if kind == "spread":  # upright as often as not, on a grid of its own cells
            x, y, z = -0.3 + 0.2 * (index % 4), -0.15 + 0.3 * (index // 4), 0.12
            tilt = float(rng.choice([0, 90]))
        else:
            (x, y), z, tilt = rng.uniform(-0.08, 0.08, 2), 0.15 + 0.14 * index, float(rng.uniform(0, 90))
        names.append(name)
        bodies.append(f'<body pos="{x} {y} {z}" euler="{tilt} 0 {rng.uniform(0, 360)}"><freejoint/>{geoms}</body>')
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><compiler angle="degree" eulerseq="xyz"/><option timestep="0.004" cone="elliptic"/>'
        '<default><geom density="400" friction="0.8 0.02 0.002" condim="6"/></default><worldbody>'
        '<geom type="box" size="0.6 0.5 0.02" pos="0 0 -0.02"/>'
        '<geom type="plane" size="4 4 0.1" pos="0 0 -0.7"/>' + "".join(bodies) + "</worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    for _ in range(900):
        mujoco.mj_step(model, data)
    eye_m, rotation = _look(rng)
    depth_m, owner = _cast(model, data, eye_m, rotation, 1)
    carried, moves = _carried(model, data, len(names)), _moves(model, data, len(names))
    truths = {}
    for label, name in enumerate(names, start=1):
        seen = int(np.count_nonzero(owner == label))
        if seen < SEEN_PX or data.xipos[label][2] < -0.01:
            continue
        alone = ALONE_STRIDE_PX**2 * _pixels_alone(model, data, eye_m, rotation, label)
        visible = min(seen / max(alone, 1), 1.0)
        centre_m = rotation.T @ (data.xipos[label] - eye_m)

        def reach_m(axes: np.ndarray, label: int = label) -> np.ndarray:
            return _reach_m(model, data, label, axes @ rotation.T) - axes @ rotation.T @ eye_m

        size_m = _size_m(model, data, label)
        truths[label] = Truth(kind, name, centre_m, size_m, visible, carried[label], moves[label], reach_m)
    labels = np.where(np.isin(owner, list(truths)), owner, 0).astype(np.uint16)
    camera = Intrinsics(WIDTH, HEIGHT, FOCAL_PX, FOCAL_PX, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    return RgbdFrame(None, _measured(rng, depth_m), camera), labels, truths


def _carried(model: mujoco.MjModel, data: mujoco.MjData, count: int) -> dict[int, dict[int, float]]:
    """By which bodies each one's weight is carried: upward forces of the contacts, as shares of the weight."""
    carried: dict[int, dict[int, float]] = {label: {} for label in range(1, count + 1)}
    for index in range(data.ncon):
        contact, force = data.contact[index], np.zeros(6)
        mujoco.mj_contactForce(model, data, index, force)
        upward_n = float((contact.frame.reshape(3, 3).T @ force[:3])[2])  # on the second body
        first, second = (int(model.geom_bodyid[geom]) for geom in (contact.geom1, contact.geom2))
        for body, other, own_n in ((second, first, upward_n), (first, second, -upward_n)):
            if body and own_n > 0:
                share = own_n / float(model.body_mass[body] * 9.81)
                carried[body][other] = carried[body].get(other, 0.0) + share
    return carried


def _moves(model: mujoco.MjModel, data: mujoco.MjData, count: int) -> dict[int, frozenset[int]]:
    """For each body, which others move when it is taken out of the simulation, against a run with it."""
    with_all_m = _later_m(model, data, None)
    moves = {}
    for label in range(1, count + 1):
        away_m = np.linalg.norm(_later_m(model, data, label) - with_all_m, axis=1)
        moves[label] = frozenset(other for other in range(1, count + 1) if other != label and away_m[other] > MOVES_M)
    return moves


def _later_m(model: mujoco.MjModel, data: mujoco.MjData, without: int | None) -> np.ndarray:
    """The bodies' centres a second later, with one of them taken away or with all."""
    later = mujoco.MjData(model)
    later.qpos[:], later.qvel[:] = data.qpos, data.qvel
    touching = model.geom_contype.copy(), model.geom_conaffinity.copy()
    if without is not None:
        own = model.geom_bodyid == without
        model.geom_contype[own] = model.geom_conaffinity[own] = 0
    mujoco.mj_step(model, later, GOES_ON_STEPS)
    model.geom_contype[:], model.geom_conaffinity[:] = touching
    return later.xipos.copy()


def _look(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where the camera is, and its axes (right, down, forward) in the world as columns."""
    elevation, turn, distance_m = np.radians(rng.uniform(25, 75)), rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.1)
    away = np.array([np.cos(elevation) * np.cos(turn), np.cos(elevation) * np.sin(turn), np.sin(elevation)])
    eye_m = np.array([*rng.uniform(-0.05, 0.05, 2), 0.03]) + distance_m * away
    right = np.cross(-away, [0, 0, 1])
    right /= np.linalg.norm(right)
    return eye_m, np.stack([right, np.cross(-away, right), -away], axis=1)


def _cast(
    model: mujoco.MjModel, data: mujoco.MjData, eye_m: np.ndarray, rotation: np.ndarray, stride_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """Depth along the optical axis, 0 for none, and the body that each pixel sees, 0 for the world."""
    v, u = np.mgrid[0:HEIGHT:stride_px, 0:WIDTH:stride_px]
    local = np.stack([(u - (WIDTH - 1) / 2) / FOCAL_PX, (v - (HEIGHT - 1) / 2) / FOCAL_PX, np.ones(u.shape)], axis=-1)
    scale = np.linalg.norm(local, axis=-1, keepdims=True)
    rays = np.ascontiguousarray(((local / scale) @ rotation.T).reshape(-1))
    count = u.size
    geom, distance_m = np.zeros(count, np.int32), np.zeros(count)
    mujoco.mj_multiRay(model, data, eye_m, rays, None, 1, -1, geom, distance_m, None, count, 10.0)
    depth_m = np.where(geom >= 0, distance_m / scale.reshape(-1), 0)
    body = np.where(geom >= 0, model.geom_bodyid[geom], 0)
    return depth_m.reshape(u.shape), body.reshape(u.shape)


def _pixels_alone(
    model: mujoco.MjModel, data: mujoco.MjData, eye_m: np.ndarray, rotation: np.ndarray, label: int
) -> int:
    """Rays that meet an object where nothing else can be seen: rays pass what is transparent."""
    alpha = model.geom_rgba[:, 3].copy()
    model.geom_rgba[model.geom_bodyid != label, 3] = 0
    _, owner = _cast(model, data, eye_m, rotation, ALONE_STRIDE_PX)
    model.geom_rgba[:, 3] = alpha
    return int(np.count_nonzero(owner == label))


def _size_m(model: mujoco.MjModel, data: mujoco.MjData, label: int) -> np.ndarray:
    """Sides of the smallest upright box, from how far the body reaches in every horizontal direction."""
    angles = np.radians(np.arange(0, 180, 0.5))
    directions = np.stack([np.cos(angles), np.sin(angles), np.zeros(len(angles))], axis=1)
    wide_m = _reach_m(model, data, label, directions) + _reach_m(model, data, label, -directions)
    areas = wide_m[:180] * wide_m[180:]
    best = int(np.argmin(areas))
    up = np.array([[0.0, 0.0, 1.0]])
    height_m = float((_reach_m(model, data, label, up) + _reach_m(model, data, label, -up))[0])
    return np.array([*sorted((wide_m[best], wide_m[best + 180]), reverse=True), height_m])


def _reach_m(model: mujoco.MjModel, data: mujoco.MjData, label: int, directions: np.ndarray) -> np.ndarray:
    """How far a body's primitives reach from the world's origin along (N, 3) directions."""
    best_m = np.full(len(directions), -np.inf)
    for geom in np.flatnonzero(model.geom_bodyid == label):
        local = directions @ data.geom_xmat[geom].reshape(3, 3)
        own_m = _reach_of_primitive_m(mujoco.mjtGeom(model.geom_type[geom]), model.geom_size[geom], local)
        best_m = np.maximum(best_m, directions @ data.geom_xpos[geom] + own_m)
    return best_m


def _reach_of_primitive_m(kind: mujoco.mjtGeom, size: np.ndarray, local: np.ndarray) -> np.ndarray:
    """How far it reaches from its middle along (N, 3) directions in its own frame."""
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return np.abs(local) @ size
    if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID:
        return np.linalg.norm(local * size, axis=1)
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        return size[0] * np.hypot(local[:, 0], local[:, 1]) + size[1] * np.abs(local[:, 2])
    if kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        return size[0] + size[1] * np.abs(local[:, 2])
    assert kind == mujoco.mjtGeom.mjGEOM_SPHERE
    return np.full(len(local), size[0])


def _measured(rng: np.random.Generator, depth_m: np.ndarray) -> np.ndarray:
    """Depth as stereo measures it: noise and steps are those of the disparity, and nothing is seen beside steps."""
    disparity_px = FOCAL_PX * BASELINE_M / np.maximum(depth_m, 1e-3)
    disparity_px += rng.normal(0, DISPARITY_NOISE_PX, depth_m.shape)
    rounded_px = np.round(disparity_px / DISPARITY_STEP_PX) * DISPARITY_STEP_PX
    lost = np.zeros(depth_m.shape, dtype=bool)
    lost[:, 1:] |= np.abs(np.diff(depth_m, axis=1)) > 0.03
    lost |= rng.random(depth_m.shape) < 0.01
    good = (depth_m > 0) & ~lost & (rounded_px > 1)
    return np.where(good, FOCAL_PX * BASELINE_M / np.maximum(rounded_px, 1), 0).astype(np.float32)


def errors(count: int, seed: int, grown_px: int = 0) -> list[tuple[Truth, Instance3D, float, np.ndarray]]:
    """Of every object: the truth, what lifting says, metres off, relative errors of the sides.

    Its mask is the true one, grown by so many pixels over what is no object.
    """
    lifter, found = Lifter(LiftingSettings()), []
    for frame, labels, truths in scenes(count, seed):
        grown = cv2.dilate(labels, np.ones((2 * grown_px + 1,) * 2, np.uint8))
        lifted = lifter.lift(frame, Instances.from_labels(np.where(labels > 0, labels, grown))).instances
        for label, instance in zip(sorted(truths), lifted, strict=True):
            truth = truths[label]
            if instance.centroid_m is not None and instance.box is not None:
                x_m, y_m, z_m = instance.box.size_m
                sides = np.array([max(x_m, y_m), min(x_m, y_m), z_m]) / truth.size_m - 1
                found.append((truth, instance, float(np.linalg.norm(instance.centroid_m - truth.centre_m)), sides))
    return found


def sigmas(truth: Truth, instance: Instance3D) -> float:
    """The error of the centre in standard deviations, over all three axes: 2.5 holds 90 % of normal errors."""
    assert instance.centroid_m is not None and instance.centroid_covariance_m2 is not None
    error_m = instance.centroid_m - truth.centre_m
    return float(np.sqrt(error_m @ np.linalg.solve(instance.centroid_covariance_m2, error_m)))


def sides_in_bounds(truth: Truth, instance: Instance3D) -> np.ndarray:
    """Whether each of the six sides lies between those of the inner and of the outer box."""
    assert instance.box is not None and instance.inner_box is not None and instance.outer_box is not None
    axes = instance.box.T_camera_box.rotation.T
    directions = np.concatenate([axes, -axes])
    least_m, most_m = (
        (bounds.corners_m @ directions.T).max(axis=0) for bounds in (instance.inner_box, instance.outer_box)
    )
    true_m = truth.reach_m(directions)
    return np.asarray((least_m <= true_m) & (true_m <= most_m))


@dataclass(frozen=True)
class Removal:
    """What the order of removal is right about.

    Attributes:
        carried: for each pair of which one carries a fifth of the other's weight or more, whether the upper one goes
            first.
        moved: for each object and each other one that moves when it is taken away, whether that goes first.
        first: for each object that the order lets go first, whether nothing moves.
        free: for each object without which nothing moves, whether the order lets it go first.
    """

    carried: list[bool]
    moved: list[bool]
    first: list[bool]
    free: list[bool]


def supports(count: int, seed: int) -> tuple[list[tuple[Truth, int | None, Instance3D]], Removal]:
    """Of every object: the truth, the label of what lifting says that it stands on (0 a plane), and all that it says;
    and how right the order of removal is in the piles."""
    lifter, found, removal = Lifter(LiftingSettings()), [], Removal([], [], [], [])
    for frame, labels, truths in scenes(count, seed):
        lifted = lifter.lift(frame, Instances.from_labels(labels)).instances
        names = sorted(truths)
        order = removal_order([instance.support for instance in lifted])
        steps = dict(zip(names, order.steps, strict=True))
        for label, instance in zip(names, lifted, strict=True):
            truth, own = truths[label], instance.support
            told = 0 if own.kind is Support.PLANE else None if own.instance is None else names[own.instance]
            found.append((truth, told, instance))
            if truth.kind != "pile":
                continue
            removal.carried.extend(
                steps[label] < steps[below]
                for below, share in truth.carried.items()
                if below in truths and share >= CARRIES
            )
            removal.moved.extend(steps[other] < steps[label] for other in truth.moves if other in truths)
            removal.first.extend([not truth.moves] if steps[label] == 1 else [])
            removal.free.extend([steps[label] == 1] if not truth.moves else [])
    return found, removal


def main() -> None:
    """Prints median and 90th percentile by group, and how right supports and order are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--grown", type=int, default=0, help="masks by so many pixels (default: %(default)s)")
    args = parser.parse_args()
    found = errors(args.scenes, args.seed, args.grown)
    groups = {f"{kind}, whole": [f for f in found if f[0].kind == kind and f[0].visible >= 0.95] for kind in KINDS}
    groups["35 to 65 % visible"] = [f for f in found if 0.35 <= f[0].visible <= 0.65]
    groups["65 to 95 % visible"] = [f for f in found if 0.65 < f[0].visible < 0.95]
    for shape in sorted({f[0].shape for f in found}):
        groups[f"whole {shape}"] = [f for f in found if f[0].shape == shape and f[0].visible >= 0.95]
    for name, own in groups.items():
        if own:
            off_mm = 1e3 * np.array([f[2] for f in own])
            sides = 100 * np.abs([f[3] for f in own])
            inside = [sigmas(f[0], f[1]) <= 2.5 for f in own]
            between = [sides_in_bounds(f[0], f[1]) for f in own]
            print(
                f"{name:22} {len(own):4d}  centre {np.median(off_mm):5.1f} / {np.percentile(off_mm, 90):5.1f} mm  "
                f"sides {np.median(sides):4.1f} / {np.percentile(sides, 90):5.1f} %  worst "
                f"{np.median(sides.max(axis=1)):4.1f} / {np.percentile(sides.max(axis=1), 90):5.1f} %  "
                f"within 2.5 sigma {100 * np.mean(inside):.0f} %  sides in bounds {100 * np.mean(between):.0f} %"
            )
    stood, removal = supports(args.scenes, args.seed)
    for kind in KINDS:
        own = [(truth.carried, told) for truth, told, _ in stood if truth.kind == kind]
        on_objects = [each for each in own if max(each[0], key=lambda label: each[0][label], default=0)]
        for name, some in ((kind, own), (f"{kind}, most weight on objects", on_objects)):
            if some:
                right = [told is not None and carried.get(told, 0.0) >= CARRIES for carried, told in some]
                unknown = [told is None for _, told in some]
                print(
                    f"{name:32} {len(some):4d}  support named that carries a fifth {100 * np.mean(right):.0f} %, "
                    f"none named {100 * np.mean(unknown):.0f} %"
                )
    print("order of removal in piles:")
    for name, right in (
        ("what carries a fifth of another one goes after it", removal.carried),
        ("what another one's removal moves goes before that", removal.moved),
        ("what may go first moves nothing", removal.first),
        ("what moves nothing may go first", removal.free),
    ):
        print(f"  {name:50} {Share(sum(right), len(right))}")


if __name__ == "__main__":
    main()
