"""What lifting would say if it knew the truth."""

from __future__ import annotations

import numpy as np

from instance_seg_ros.core.status import Status
from instance_seg_ros.learning.evaluation.geometry_scenes import TrueObject, TrueScene
from instance_seg_ros.lifting import Completion, Instance3D


def said_exactly(scene: TrueScene, true: TrueObject) -> Instance3D:
    """Of one object of a scene."""
    points_m = scene.frame.points_m[(scene.labels == true.label) & (scene.frame.depth_m > 0)]
    return Instance3D(
        points_m=points_m,
        pixels=np.arange(len(points_m)),
        rejected=0,
        centroid_m=true.centre_m,
        surface_centroid_m=points_m.mean(axis=0, dtype=np.float64),
        covariance_m2=np.eye(3) * 1e-4,
        box=true.box,
        completion=Completion.SUPPORT_PLANE,
        status=Status.OK,
    )
