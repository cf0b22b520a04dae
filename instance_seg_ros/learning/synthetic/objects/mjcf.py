"""Collision pieces as MuJoCo's XML."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.learning.synthetic.objects.shapes import CollisionGeom


def geom_xml(geom: CollisionGeom, mesh_name: str, attributes: str, digits: int) -> tuple[str, str]:
    """MJCF of one geom and of its mesh asset, empty if it needs none.

    Args:
        geom: the piece.
        mesh_name: what its asset is called, unique in the model.
        attributes: further attributes of the geom.
        digits: as in `numbers`.
    """
    place = f'pos="{numbers(geom.position_m, digits)}" quat="{numbers(geom.quaternion_wxyz, digits)}" {attributes}'
    if geom.vertices_m is None:
        return f'<geom type="{geom.kind}" size="{numbers(geom.size_m, digits)}" {place}/>', ""
    asset = f'<mesh name="{mesh_name}" vertex="{numbers(geom.vertices_m.ravel(), digits)}" inertia="convex"/>'
    return f'<geom type="mesh" mesh="{mesh_name}" {place}/>', asset


def numbers(values: Sequence[float] | NDArray[np.float64], digits: int) -> str:
    """The values with so many significant digits, which are part of what a seed means: a heap falls otherwise with
    others."""
    return " ".join([f"{value:.{digits}g}" for value in np.asarray(values, dtype=np.float64).tolist()])
