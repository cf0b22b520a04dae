"""Letting objects fall and settle (MuJoCo)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import mujoco
import numpy as np
import numpy.typing as npt
import trimesh

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.objects.mjcf import geom_xml, numbers
from instance_seg_ros.learning.synthetic.rooms.world import Placed, Support

FloatArray = npt.NDArray[np.float64]

_TIMESTEP_S = 0.004
_CHECK_EVERY = 50  # steps
_DIGITS = 6  # of the model's numbers
_DEEPEST_M = 0.05  # bodies beside a board or a tote stay, bodies on the floor do not


def settle(support: Support, placed: Sequence[Placed], duration_s: float = 2.0) -> tuple[Placed, ...]:
    """Let bodies fall and come to rest; those that leave the support are removed.

    Stops early when everything is at rest.
    """
    if not placed:
        return ()
    model = physics_model(support, placed)
    data = mujoco.MjData(model)
    steps = round(duration_s / _TIMESTEP_S)
    for done in range(0, steps, _CHECK_EVERY):
        mujoco.mj_step(model, data, min(_CHECK_EVERY, steps - done))
        if done >= 2 * _CHECK_EVERY and np.abs(data.qvel).max() < 0.02:
            break
    return moved(support, placed, data.qpos)


def moved(support: Support, placed: Sequence[Placed], qpos: FloatArray) -> tuple[Placed, ...]:
    """The bodies at MuJoCo's joint positions, without those off the support."""
    limit = np.asarray(support.half_wh_m) + (0.6 if support.kind in ("floor", "desk") else 0.1)
    result = []
    for item, q in zip(placed, qpos.reshape(-1, 7), strict=True):
        rotation = trimesh.transformations.quaternion_matrix(q[3:])[:3, :3]
        lowest = float((np.asarray(item.shape.mesh.vertices) @ rotation[2]).min() + q[2])
        if np.isfinite(q).all() and lowest > -_DEEPEST_M and (np.abs(q[:2]) < limit).all() and lowest < 0.8:
            result.append(replace(item, T_world_shape=Transform(rotation, q[:3])))
    return tuple(result)


def physics_model(support: Support, placed: Sequence[Placed]) -> mujoco.MjModel:
    """MuJoCo model of a support and free bodies; free joint i is that of ``placed[i]``."""
    try:
        return mujoco.MjModel.from_xml_string(_physics_xml(support, placed))
    except ValueError as error:
        if "qhull" not in str(error):
            raise
        # Qhull gives up on some sets with nearly coincident points; without those it succeeds.
        return mujoco.MjModel.from_xml_string(_physics_xml(support, [_without_close_points(item) for item in placed]))


def _without_close_points(item: Placed, distance_m: float = 1e-4) -> Placed:
    """The same body with the points of its convex pieces merged where they are closer than ``distance_m``."""
    geoms = tuple(
        geom
        if geom.vertices_m is None
        else replace(geom, vertices_m=np.unique(np.round(geom.vertices_m / distance_m), axis=0) * distance_m)
        for geom in item.shape.geoms
    )
    return replace(item, shape=replace(item.shape, geoms=geoms))


def _physics_xml(support: Support, placed: Sequence[Placed]) -> str:
    """MJCF of a support and free bodies."""
    assets, bodies = [], []
    groups = [("fixed", support.solid), ("free", placed)]
    for group, items in groups:
        attributes = 'friction="0.8 0.01 0.002"' + (' density="600"' if group == "free" else "")
        for index, item in enumerate(items):
            parts = [geom_xml(g, f"{group}{index}_{k}", attributes, _DIGITS) for k, g in enumerate(item.shape.geoms)]
            assets += [asset for _, asset in parts if asset]
            position = numbers(item.T_world_shape.translation_m, _DIGITS)
            quaternion = numbers(trimesh.transformations.quaternion_from_matrix(item.T_world_shape.matrix), _DIGITS)
            joint = '<joint type="free" damping="0.0002"/>' if group == "free" else ""
            geoms = "".join(geom for geom, _ in parts)
            bodies.append(f'<body pos="{position}" quat="{quaternion}">{joint}{geoms}</body>')
    return (
        f'<mujoco><option timestep="{_TIMESTEP_S}" integrator="implicitfast" iterations="15"/>'
        '<default><geom condim="4" solref="0.012 1"/></default>'
        f"<asset>{''.join(assets)}</asset><worldbody>{''.join(bodies)}</worldbody></mujoco>"
    )
