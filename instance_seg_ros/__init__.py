"""RGB-D instance segmentation for robots: masks, clean clouds, oriented boxes, ids that stay, and ranked grasps.

Code of your own starts from the names in `__all__`:

    from instance_seg_ros import Pipeline, RgbdFrame

Each is imported from its module when it is first asked for, so that `import instance_seg_ros`, which the generated ROS
messages do as well, costs nothing. The ROS 2 layer is `instance_seg_ros.ros`.
"""

from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
    from instance_seg_ros.core.depth import decode_depth, register_depth
    from instance_seg_ros.core.errors import InputError
    from instance_seg_ros.core.geometry import OrientedBox, Plane, Transform
    from instance_seg_ros.core.instances import Instances
    from instance_seg_ros.core.parameters import (
        GraspingSettings,
        GripperSettings,
        LiftingSettings,
        PipelineSettings,
        SegmentationSettings,
        TrackingSettings,
    )
    from instance_seg_ros.core.status import Status, reason_of
    from instance_seg_ros.files.captures import read_capture, write_capture
    from instance_seg_ros.files.result_files import write_results
    from instance_seg_ros.grasping.grasp import Grasp
    from instance_seg_ros.lifting.instance import Instance3D
    from instance_seg_ros.pipeline import Pipeline, Scene, SceneObject
    from instance_seg_ros.segmentation.model_file import ModelError
    from instance_seg_ros.tracking.tracks import TrackRecord

__all__ = [
    "Grasp",
    "GraspingSettings",
    "GripperSettings",
    "InputError",
    "Instance3D",
    "Instances",
    "Intrinsics",
    "LiftingSettings",
    "ModelError",
    "OrientedBox",
    "Pipeline",
    "PipelineSettings",
    "Plane",
    "RgbdFrame",
    "Scene",
    "SceneObject",
    "SegmentationSettings",
    "Status",
    "TrackRecord",
    "TrackingSettings",
    "Transform",
    "decode_depth",
    "read_capture",
    "reason_of",
    "register_depth",
    "write_capture",
    "write_results",
]
__version__ = "0.2.0"

# In a ROS workspace the generated msg and srv modules lie in the install tree, in a folder of this package's name.
__path__ = extend_path(__path__, __name__)

_MODULE_OF = {
    "Intrinsics": "core.camera",
    "RgbdFrame": "core.camera",
    "decode_depth": "core.depth",
    "register_depth": "core.depth",
    "GraspingSettings": "core.parameters",
    "GripperSettings": "core.parameters",
    "LiftingSettings": "core.parameters",
    "PipelineSettings": "core.parameters",
    "SegmentationSettings": "core.parameters",
    "TrackingSettings": "core.parameters",
    "InputError": "core.errors",
    "OrientedBox": "core.geometry",
    "Plane": "core.geometry",
    "TrackRecord": "tracking.tracks",
    "Transform": "core.geometry",
    "Instances": "core.instances",
    "Status": "core.status",
    "reason_of": "core.status",
    "read_capture": "files.captures",
    "write_capture": "files.captures",
    "Grasp": "grasping.grasp",
    "Instance3D": "lifting.instance",
    "Pipeline": "pipeline",
    "Scene": "pipeline",
    "SceneObject": "pipeline",
    "write_results": "files.result_files",
    "ModelError": "segmentation.model_file",
}
"""Where each of the public names is defined; type checkers read the imports above instead."""


if not TYPE_CHECKING:  # a type checker that saw it would take every name for one of this package's

    def __getattr__(name: str) -> Any:
        """A public name, imported when it is first asked for (PEP 562)."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
