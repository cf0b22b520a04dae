"""The settings of the pipeline's stages: one frozen dataclass each. core/settings.py has the mechanism."""

from __future__ import annotations

import dataclasses
from typing import get_type_hints

from instance_seg_ros.core.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class SegmentationSettings(Settings):
    """The network and what is kept of its output."""

    backend: str = setting(
        "auto",
        "What runs the network: tensorrt, tensorrt-rtx, ONNX Runtime's providers onnxruntime-tensorrt and "
        "onnxruntime-cuda, or pytorch, on an NVIDIA GPU, whose first frame waits until all is prepared; onnxruntime or "
        "openvino on the CPU. auto takes the first of these that works here; until it is ready, and without a GPU, the "
        "faster one of those for the CPU serves, which it measures.",
        choices=(
            "auto",
            "tensorrt",
            "tensorrt-rtx",
            "onnxruntime-tensorrt",
            "onnxruntime-cuda",
            "pytorch",
            "onnxruntime",
            "openvino",
        ),
    )
    precision: str = setting(
        "auto",
        "Of the convolutions: fp16 (GPU) and bf16 (PyTorch and OpenVINO) compute nearly all of them in 16 bits, tf32 "
        "(GPU) rounds their factors to 10 bits of mantissa, fp32 does neither; auto is bf16 for PyTorch, and for "
        "OpenVINO on a CPU that has it, and tf32 for the others; without a GPU and with auto for both, backends are "
        "measured on the 8-bit file beside the model, too. PyTorch and fp16 need the package onnx.",
        choices=("auto", "fp16", "bf16", "tf32", "fp32"),
    )
    engine_cache: str = setting(
        "", "Folder that keeps TensorRT's engines; empty takes instance_seg_ros/engines in the user's cache folder."
    )
    threads: int = setting(
        0, "CPU threads for the network; 0 leaves the choice to the backend.", minimum=0, maximum=256
    )
    score_threshold: float = setting(
        -1.0,
        "Instances below this score are left out; -1 takes the value that the model file names.",
        minimum=-1.0,
        maximum=1.0,
    )
    max_instances: int = setting(50, "The best so many instances of a frame are kept.", minimum=1, maximum=1000)
    min_mask_pixels: int = setting(
        60, "A mask with fewer pixels in the camera's image is no instance.", minimum=1, maximum=1_000_000
    )


@dataclasses.dataclass(frozen=True)
class LiftingSettings(Settings):
    """From masks to clouds, centres and boxes."""

    mask_erosion_px: int = setting(
        2,
        "Pixels taken off each mask's border before lifting; the border's depth is often wrong.",
        minimum=0,
        maximum=20,
    )
    depth_step_m: float = setting(
        0.008, "A jump in depth between neighbours above this is an edge, in metres.", minimum=0.0005, maximum=0.5
    )
    depth_step_ratio: float = setting(
        0.015, "A jump must exceed this share of the depth, too, to be an edge.", minimum=0.0, maximum=0.5
    )
    outlier_mad_factor: float = setting(
        4.0,
        "Points farther from an object's median depth than so many robust standard deviations are rejected.",
        minimum=1.0,
        maximum=100.0,
    )
    min_points: int = setting(
        50,
        "An instance with fewer points that hold is published without 3D, with that reason.",
        minimum=10,
        maximum=100_000,
    )
    plane_tolerance_m: float = setting(
        0.008,
        "Distance from the support plane within which a point belongs to it, in metres.",
        minimum=0.001,
        maximum=0.1,
    )
    use_support_plane: bool = setting(
        True, "Find the plane that objects stand on and complete their hidden part down to it."
    )


@dataclasses.dataclass(frozen=True)
class GripperSettings(Settings):
    """A parallel-jaw gripper as boxes: two fingers and a palm; the tool centre point lies between the fingertips."""

    max_opening_m: float = setting(0.08, "Largest distance between the fingers, in metres.", minimum=0.005, maximum=1.0)
    finger_thickness_m: float = setting(
        0.012, "Thickness of a finger along the closing direction, in metres.", minimum=0.001, maximum=0.2
    )
    finger_width_m: float = setting(
        0.02, "Width of a finger across the closing direction, in metres.", minimum=0.001, maximum=0.2
    )
    finger_length_m: float = setting(
        0.045, "Length of the fingers from palm to tip, in metres.", minimum=0.005, maximum=0.5
    )
    palm_depth_m: float = setting(0.07, "Depth of the palm behind the fingers, in metres.", minimum=0.0, maximum=0.5)
    palm_width_m: float = setting(
        0.20, "Width of the palm along the closing direction, in metres.", minimum=0.01, maximum=1.0
    )
    palm_height_m: float = setting(
        0.06, "Height of the palm across the closing direction, in metres.", minimum=0.001, maximum=0.5
    )


@dataclasses.dataclass(frozen=True)
class GraspingSettings(Settings):
    """Grasp candidates, their collision check and ranking."""

    enabled: bool = setting(True, "Compute grasps.")
    max_grasps: int = setting(10, "The best so many grasps of an instance are published.", minimum=1, maximum=1000)
    friction: float = setting(0.5, "Friction coefficient that a contact may rely on.", minimum=0.05, maximum=2.0)
    approach_distance_m: float = setting(
        0.08, "Free way that the gripper needs along its approach, in metres.", minimum=0.0, maximum=1.0
    )
    lift_distance_m: float = setting(
        0.1, "How far an object is lifted after the grasp, in metres.", minimum=0.0, maximum=1.0
    )
    clearance_m: float = setting(
        0.004, "Distance that the gripper keeps from everything but its object, in metres.", minimum=0.0, maximum=0.1
    )
    closing_axis: str = setting(
        "x", "Axis of the published grasp along which the fingers close; +z always approaches.", choices=("x", "y")
    )
    tcp_to_flange_m: float = setting(
        0.0,
        "Moves the published pose back along the approach, from the fingertips to a robot's flange, in metres.",
        minimum=0.0,
        maximum=1.0,
    )


@dataclasses.dataclass(frozen=True)
class TrackingSettings(Settings):
    """Stable ids over time."""

    max_distance_m: float = setting(
        0.1, "An instance farther than this from where a track was expected is not that object, in metres.",
        minimum=0.005, maximum=5.0,
    )  # fmt: skip
    max_missed_frames: int = setting(
        15,
        "A track ends after more frames than this that see its place empty; its id is not used again.",
        minimum=0,
        maximum=10_000,
    )
    first_pass_score: float = setting(
        0.5,
        "Instances of this score and above choose their tracks first; the others continue the tracks that are left.",
        minimum=0.0,
        maximum=1.0,
    )


@dataclasses.dataclass(frozen=True)
class PipelineSettings:
    """The settings of every stage, by the names that parameters and options use as prefixes."""

    segmentation: SegmentationSettings = SegmentationSettings()
    lifting: LiftingSettings = LiftingSettings()
    gripper: GripperSettings = GripperSettings()
    grasping: GraspingSettings = GraspingSettings()
    tracking: TrackingSettings = TrackingSettings()


def stages() -> dict[str, type[Settings]]:
    """Stage name to settings type, in the order of the pipeline."""
    return get_type_hints(PipelineSettings)
