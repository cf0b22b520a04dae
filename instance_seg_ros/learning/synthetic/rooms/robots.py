"""A robot's arm, or a person's, that reaches into the scene: background, however near the objects it comes.

The arm stands on the support, on a pedestal beside it or hangs from above, and its fingers are over, beside or around
objects. Nothing of it touches them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import trimesh

from instance_seg_ros.learning.synthetic.objects.shapes import (
    ObjectShape,
    Vector,
    box_mesh,
    join,
    lathe_mesh,
    superquadric_mesh,
    tube_mesh,
    z_to,
)
from instance_seg_ros.learning.synthetic.pictures.appearance import (
    Appearance,
    background_appearance,
    plain,
    robot_color,
)
from instance_seg_ros.learning.synthetic.poses import pose, yaw_rotation
from instance_seg_ros.learning.synthetic.rooms.world import ROBOT, Placed, Support, View

FloatArray = npt.NDArray[np.float64]

_CLEAR_M = 0.004
_TRIES = 12
_HUMAN_SHARE = 0.2
_PEDESTAL_M = 1.3  # reaches below every floor


def add_arm(rng: np.random.Generator, support: Support, objects: Sequence[Placed]) -> Support:
    """The support with an arm that reaches for the objects on it; as it is where none keeps clear of them.

    Args:
        rng: source of randomness; always moves on by as much, whatever is drawn.
        support: what the objects are on.
        objects: at rest.
    """
    rng = np.random.default_rng(int(rng.integers(2**62)))
    obstacles = [_Boxes(item) for item in (*support.solid, *objects)]
    for _ in range(_TRIES):
        chain = _sample_chain(rng, support, objects)
        arm = _human(rng, chain) if rng.random() < _HUMAN_SHARE else _robot(rng, chain, _stands(chain[0], support))
        if all(obstacle.keeps_clear(arm.spheres) for obstacle in obstacles):
            return replace(support, surroundings=(*support.surroundings, *arm.placed()))
    return support


class _Boxes:
    """The boxes around the bodies of something, in its own frame."""

    def __init__(self, item: Placed) -> None:
        self._T_shape_world = item.T_world_shape.inverse()
        corners = [(mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)) for mesh in item.shape.bodies]
        self._low, self._high = (np.array(side) for side in zip(*corners, strict=True))

    def keeps_clear(self, spheres: FloatArray) -> bool:
        """Whether all of (N, 4) spheres, centre and radius, are off the boxes."""
        centre = self._T_shape_world.apply(spheres[:, :3])[:, None]
        beyond = np.maximum(np.maximum(self._low - centre, centre - self._high), 0.0)
        return bool((np.linalg.norm(beyond, axis=-1) > spheres[:, 3:] + _CLEAR_M).all())


class _Arm:
    """Collects meshes by their look, and spheres that cover those that must not touch anything."""

    def __init__(self, family: str) -> None:
        self._family = family
        self._groups: list[tuple[Appearance, list[trimesh.Trimesh]]] = []
        self._spheres: list[FloatArray] = [np.zeros((0, 4))]

    @property
    def spheres(self) -> FloatArray:
        return np.vstack(self._spheres)

    def add(self, look: Appearance, mesh: trimesh.Trimesh) -> None:
        """A mesh in the world."""
        for own, meshes in self._groups:
            if own is look:
                meshes.append(mesh)
                return
        self._groups.append((look, [mesh]))

    def cover(self, path_m: FloatArray, radius_m: float) -> None:
        """Spheres along a path, so close that they cover a bar of this radius."""
        for start, end in itertools.pairwise(np.asarray(path_m, float)):
            count = int(np.ceil(np.linalg.norm(end - start) / max(radius_m, 0.004))) + 1
            points = np.linspace(start, end, count)
            self._spheres.append(np.column_stack([points, np.full(count, 1.1 * radius_m)]))

    def tube(self, look: Appearance, path_m: FloatArray, radius_m: npt.ArrayLike, sides: int = 12) -> None:
        """A bar that keeps clear of things."""
        self.add(look, tube_mesh(path_m, radius_m, sides))
        self.cover(path_m, float(np.max(radius_m)))

    def placed(self) -> tuple[Placed, ...]:
        """All parts, as background."""
        still = pose((0.0, 0.0, 0.0))
        return tuple(
            Placed(ObjectShape(self._family, join(meshes), ()), still, 0, look) for look, meshes in self._groups
        )


def _stands(base_m: FloatArray, support: Support) -> bool:
    """Whether something solid with its surface at the height of the support is below a base."""
    for item in support.solid:
        points = item.T_world_shape.apply(np.asarray(item.shape.mesh.vertices))
        low, high = points.min(axis=0), points.max(axis=0)
        if (low[:2] < base_m[:2] - 0.09).all() and (high[:2] > base_m[:2] + 0.09).all() and abs(high[2]) < 0.03:
            return True
    return False


def _sample_chain(rng: np.random.Generator, support: Support, objects: Sequence[Placed]) -> FloatArray:
    """(5, 3) points of an arm: base, shoulder, elbow, wrist and the place between the tips of the fingers."""
    half = np.asarray(support.half_wh_m)
    if objects and rng.random() < 0.85:
        chosen = objects[int(rng.integers(len(objects)))]
        vertices = chosen.T_world_shape.apply(np.asarray(chosen.shape.mesh.vertices))
        tip = vertices.mean(axis=0)
        tip[2] = vertices[:, 2].max() + float(rng.exponential(0.04)) + 0.01
        if rng.random() < 0.4:
            tip[:2] += rng.normal(0.0, 0.1, 2)
            tip[2] = max(tip[2] - rng.uniform(0.0, 0.08), 0.02)
    else:
        tip = np.array([*(rng.uniform(-0.8, 0.8, 2) * half), rng.uniform(0.03, 0.3)])
    yaw = rng.uniform(*support.open_yaw)
    tilt = rng.uniform(0.9, 1.45) if support.kind == "shelf" else abs(rng.normal(0.0, 0.45))
    outward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    up = np.array([0.0, 0.0, 1.0])
    wrist = tip + (np.sin(tilt) * outward + np.cos(tilt) * up) * rng.uniform(0.17, 0.26)
    if rng.random() < 0.2 and support.kind != "shelf":  # hangs from above
        base = wrist + np.array([*rng.normal(0.0, 0.2, 2), rng.uniform(0.7, 1.1)])
        shoulder = base - rng.uniform(0.05, 0.2) * up
    else:
        base = np.array([tip[0], tip[1], 0.0]) + outward * rng.uniform(0.4, 0.8)
        shoulder = base + rng.uniform(0.12, 0.35) * up
    sideways = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    elbow = (shoulder + wrist) / 2 + sideways * rng.normal(0.0, 0.1) + rng.uniform(0.08, 0.35) * up
    return np.stack([base, shoulder, elbow, wrist, tip])


def _robot(rng: np.random.Generator, chain: FloatArray, stands: bool) -> _Arm:
    """Links of one colour, joints and gripper of others."""
    arm = _Arm(ROBOT)
    radius = rng.uniform(0.028, 0.058)
    shell = replace(background_appearance(rng, "robot"), base_rgb=robot_color(rng))
    dark = replace(shell, kind="plain", base_rgb=robot_color(rng), seed=int(rng.integers(2**62)))
    base, shoulder, elbow, wrist, tip = chain
    foot = lathe_mesh(np.array([[0, 0], [1.6, 0], [1.5, 0.6], [1.15, 1.0], [0, 1.0]]) * radius)
    foot.apply_translation(base)
    arm.add(dark, foot)
    if not stands and base[2] == 0.0:
        pedestal = np.array([base, base - [0.0, 0.0, _PEDESTAL_M]])
        arm.add(dark, box_mesh((1.7 * radius, 1.7 * radius, _PEDESTAL_M / 2), pedestal.mean(axis=0)))
        arm.cover(pedestal, 2.4 * radius)
    else:
        arm.cover(np.array([base + np.array([0.0, 0.0, 2.0 * radius]), shoulder]), 1.5 * radius)
    nodes = [base, shoulder, elbow, wrist]
    for k, (start, end) in enumerate(itertools.pairwise(nodes)):
        thick = radius * (1.0 - 0.17 * k)
        path, waist = np.linspace(start, end, 5), rng.uniform(0.7, 1.0)
        arm.add(shell, tube_mesh(path, thick * np.array([1.0, waist, waist, waist, 1.0]), 14))
        arm.add(dark, _barrel(end, np.cross(end - start, [0.3, 0.2, 1.0]), 1.08 * thick, 1.15 * thick))
        if k > 0:
            arm.cover(path, 1.2 * thick)
    _add_gripper(rng, arm, dark, dark if rng.random() < 0.6 else shell, wrist, tip, 0.7 * radius)
    if rng.random() < 0.4:
        _add_hose(rng, arm, nodes, 1.2 * radius)
    return arm


def _barrel(centre_m: FloatArray, axis: FloatArray, radius_m: float, half_m: float) -> trimesh.Trimesh:
    """A drum across a joint, with bevelled rims."""
    r, h = radius_m, half_m
    mesh = lathe_mesh([[0, -h], [0.8 * r, -h], [r, -0.8 * h], [r, 0.8 * h], [0.8 * r, h], [0, h]], 18)
    mesh.apply_transform(trimesh.transformations.quaternion_matrix(z_to(axis / max(float(np.linalg.norm(axis)), 1e-9))))
    mesh.apply_translation(centre_m)
    return mesh


def _add_gripper(
    rng: np.random.Generator,
    arm: _Arm,
    hand: Appearance,
    fingers: Appearance,
    wrist: FloatArray,
    tip: FloatArray,
    radius: float,
) -> None:
    """A hand with two or three fingers, or with a suction cup, along the line from the wrist to the tip."""
    length = float(np.linalg.norm(tip - wrist))
    T = trimesh.transformations.quaternion_matrix(z_to((tip - wrist) / length))
    T[:3, :3] = T[:3, :3] @ yaw_rotation(float(rng.uniform(0, 2 * np.pi)))
    T[:3, 3] = wrist

    def put(look: Appearance, mesh: trimesh.Trimesh) -> None:
        mesh.apply_transform(T)
        arm.add(look, mesh)

    def cover(path: Sequence[Vector], radius_m: float) -> None:
        arm.cover(np.asarray(path, float) @ T[:3, :3].T + wrist, radius_m)

    palm = length * rng.uniform(0.45, 0.6)
    kind = rng.random()
    put(
        hand,
        tube_mesh(np.array([[0, 0, 0], [0, 0, palm / 2], [0, 0, palm]]), (1.0 if kind < 0.7 else 1.3) * radius, 12),
    )
    cover([(0, 0, 0), (0, 0, palm)], 1.3 * radius)
    if kind < 0.7:
        wide, opening = rng.uniform(0.035, 0.09), rng.uniform(0.008, 0.05)
        put(hand, box_mesh((wide, 0.8 * radius, 0.2 * palm), (0.0, 0.0, 0.8 * palm)))
        cover([(-wide, 0, 0.8 * palm), (wide, 0, 0.8 * palm)], 1.2 * radius)
        thick, broad, reach = rng.uniform(0.004, 0.009), rng.uniform(0.007, 0.013), (length - palm) / 2
        at = min(opening + thick, wide - thick)
        for side in (-1, 1):
            put(fingers, box_mesh((thick, broad, reach), (side * at, 0.0, palm + reach)))
            put(hand, box_mesh((2.0 * thick, 1.3 * broad, 0.35 * reach), (side * at, 0.0, palm + 0.3 * reach)))
            cover([(side * at, 0, palm), (side * at, 0, length)], max(thick, broad))
    elif kind < 0.85:
        for k in range(3):
            out = np.array([np.cos(k * 2 * np.pi / 3), np.sin(k * 2 * np.pi / 3), 0.0])
            knee = out * rng.uniform(0.05, 0.08) + [0.0, 0.0, (palm + length) / 2]
            path = np.array(
                [out * radius + [0.0, 0.0, palm - 0.01], knee, out * rng.uniform(0.015, 0.05) + [0, 0, length]]
            )
            put(fingers, tube_mesh(path, 0.009, 8))
            cover(path, 0.009)  # type: ignore[arg-type]
    else:
        cup = rng.uniform(0.012, 0.025)
        profile = [[0.3 * cup, palm], [0.3 * cup, length - 0.02], [cup, length], [0, length - 0.004]]
        put(fingers, lathe_mesh(profile, 18))
        cover([(0, 0, palm), (0, 0, length)], cup)
    if rng.random() < 0.4:  # a camera on the hand
        put(hand, box_mesh((0.045, 0.012, 0.012), (0.0, 1.3 * radius + 0.01, 0.5 * palm)))


def _add_hose(rng: np.random.Generator, arm: _Arm, nodes: Sequence[FloatArray], away_m: float) -> None:
    """A hose or cable that runs loosely beside the links."""
    along = np.linspace(0, len(nodes) - 1, 14)
    path = np.column_stack([np.interp(along, np.arange(len(nodes)), np.array(nodes)[:, k]) for k in range(3)])
    side = rng.normal(size=3) * [1.0, 1.0, 0.3]
    path += away_m * side / np.linalg.norm(side) * (1.0 + 0.35 * np.sin(along * 2.2))[:, None]
    radius = rng.uniform(0.003, 0.009)
    arm.add(background_appearance(rng, "robot"), tube_mesh(path, radius, 7))
    arm.cover(path[3:], radius)


def hand_in_view(rng: np.random.Generator, view: View, nearest_m: float) -> tuple[Placed, ...]:
    """The gripper of a robot that carries the camera: fingers, and a hand partly, at a border of the image.

    Args:
        rng: source of randomness; always moves on by as much, whatever is drawn.
        view: the camera.
        nearest_m: depth of the nearest thing in view, which the fingers stay before.
    """
    rng = np.random.default_rng(int(rng.integers(2**62)))
    arm = _Arm(ROBOT)
    dark = replace(background_appearance(rng, "robot"), base_rgb=robot_color(rng))
    light = replace(background_appearance(rng, "robot"), base_rgb=robot_color(rng))
    reach = float(rng.uniform(0.55, 0.9)) * min(nearest_m, 0.4)
    camera = view.intrinsics
    # So far from the optical axis that the tips are within the picture, and the hand is mostly not.
    half_view = 0.5 * np.array([camera.width / camera.fx, camera.height / camera.fy])
    side = np.array([(0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0)])[int(rng.choice(4, p=(0.55, 0.2, 0.125, 0.125)))]
    away = side * half_view * reach * rng.uniform(0.55, 0.95)
    across = np.array([side[1], side[0]])
    opening, wide = rng.uniform(0.012, 0.045), rng.uniform(0.005, 0.011)
    for sign in (-1, 1):
        at = away + sign * opening * across
        half = np.array([*(wide * (1.0 + np.abs(across))), reach * 0.25])
        arm.add(light, box_mesh(half, (at[0], at[1], reach - half[2])))
        arm.add(dark, box_mesh(half * [1.5, 1.5, 0.5], (at[0], at[1], reach - 1.6 * half[2])))
    half = np.array([*(0.022 + 0.03 * np.abs(across)), 0.2 * reach])
    arm.add(dark, box_mesh(half, (*(away + 0.01 * side), reach * 0.45)))
    return tuple(replace(part, T_world_shape=view.T_world_camera) for part in arm.placed())


def _human(rng: np.random.Generator, chain: FloatArray) -> _Arm:
    """A forearm in a sleeve, and a hand with bent fingers that reaches from the elbow."""
    arm = _Arm("part")
    _, _, elbow, wrist, tip = chain
    tone = np.clip(np.array([0.95, 0.76, 0.62]) * rng.uniform(0.3, 1.0) * rng.normal(1.0, 0.05, 3), 0.05, 1.0)
    skin = plain((float(tone[0]), float(tone[1]), float(tone[2])))
    cloth = replace(background_appearance(rng, "furniture"), kind="cloth" if rng.random() < 0.6 else "plain")
    length = float(np.linalg.norm(tip - wrist))
    direction = (tip - wrist) / length
    hand = tip - direction * min(0.18, 0.9 * length)
    seam = elbow + (hand - elbow) * rng.uniform(0.0, 0.9)
    shoulder = elbow + (elbow - wrist) * 1.5 + [0.0, 0.0, 0.3]  # out of most pictures
    arm.tube(cloth, np.array([shoulder, (shoulder + elbow) / 2, elbow]), [0.065, 0.06, 0.052])
    arm.tube(cloth, np.linspace(elbow, seam, 4), [0.052, 0.05, 0.046, 0.042])
    arm.tube(skin, np.linspace(elbow, hand, 5), [0.043, 0.042, 0.037, 0.03, 0.026])
    T = trimesh.transformations.quaternion_matrix(z_to(direction))
    T[:3, :3] = T[:3, :3] @ yaw_rotation(float(rng.uniform(0, 2 * np.pi)))
    T[:3, 3] = hand
    palm = superquadric_mesh((0.042, 0.016, 0.048), (0.7, 0.7))
    palm.apply_translation([0.0, 0.0, 0.04])
    palm.apply_transform(T)
    arm.add(skin, palm)
    curl, reach = rng.uniform(0.0, 0.6), float(np.linalg.norm(tip - hand))
    for k in range(4):
        x, long = -0.03 + 0.02 * k, max(reach - 0.08 - 0.006 * abs(k - 1.5), 0.03)
        knee = [x, 0.4 * curl * long, 0.08 + 0.55 * long]
        path = np.array([[x, 0.0, 0.07], knee, [0.8 * x, curl * long, 0.08 + long * (1.0 - 0.3 * curl)]])
        arm.tube(skin, path @ T[:3, :3].T + hand, [0.0095, 0.009, 0.007], 8)
    thumb = np.array([[-0.035, 0.0, 0.02], [-0.06, 0.02, 0.055], [-0.05, 0.035, 0.085]])
    arm.tube(skin, thumb @ T[:3, :3].T + hand, [0.012, 0.011, 0.008], 8)
    arm.cover(np.array([hand, hand + direction * 0.08]), 0.045)
    return arm
