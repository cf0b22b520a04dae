"""Lifting: from masks on a frame to clean clouds, a support plane, centres and oriented boxes in 3D."""

from instance_seg_ros.lifting.instance import Completion, Instance3D, LiftedFrame
from instance_seg_ros.lifting.lifter import Lifter
from instance_seg_ros.lifting.mesh import ShapeMesh
from instance_seg_ros.lifting.shape import CompletedShape
from instance_seg_ros.lifting.support import ObjectSupport, Support

__all__ = [
    "CompletedShape",
    "Completion",
    "Instance3D",
    "LiftedFrame",
    "Lifter",
    "ObjectSupport",
    "ShapeMesh",
    "Support",
]
