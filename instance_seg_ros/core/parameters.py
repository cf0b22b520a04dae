"""The settings of the pipeline's stages: one frozen dataclass each. core/settings.py has the mechanism."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import get_type_hints

from instance_seg_ros.core.gripper_files import read_gripper
from instance_seg_ros.core.settings import Settings, fields_of, setting


@dataclasses.dataclass(frozen=True)
class SegmentationSettings(Settings):
    """The network and what is kept of its output."""

    backend: str = setting(
        "auto",
        "What runs the network. On an NVIDIA GPU: tensorrt, tensorrt-rtx, ONNX Runtime with its TensorRT or CUDA "
        "provider (onnxruntime-tensorrt, onnxruntime-cuda), or pytorch; the first frame then waits until everything "
        "is ready. On the CPU: onnxruntime or openvino. auto takes the first GPU backend in this list that works on "
        "this machine; until that is ready, and where there is no GPU, it runs the faster CPU backend, which it finds "
        "by measuring.",
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
        "Number format of the convolutions: fp16 (GPU) and bf16 (TensorRT, PyTorch, OpenVINO) compute nearly all of "
        "them in 16 bits, tf32 (GPU) rounds their factors to 10 bits of mantissa, fp32 does neither. auto is bf16 for "
        "PyTorch, bf16 for OpenVINO on a CPU that supports it, and tf32 for the other GPU backends. If backend and "
        "precision are both auto and there is no GPU, the 8-bit file beside the model is measured as well. The "
        "GPU backends need the package onnx.",
        choices=("auto", "fp16", "bf16", "tf32", "fp32"),
    )
    engine_cache: str = setting(
        "", "Folder for TensorRT's engines; empty: instance_seg_ros/engines in the user's cache folder."
    )
    threads: int = setting(0, "CPU threads for the network; 0: the backend chooses.", minimum=0, maximum=256)
    score_threshold: float = setting(
        -1.0,
        "Instances below this score are left out; -1: the threshold that the model file recommends.",
        minimum=-1.0,
        maximum=1.0,
    )
    max_instances: int = setting(
        50, "At most this many instances of a frame are kept, the best ones.", minimum=1, maximum=1000
    )
    min_mask_pixels: int = setting(
        60, "Masks with fewer pixels than this in the camera's image are left out.", minimum=1, maximum=1_000_000
    )
    align_color: bool = setting(
        True,
        "Move the picture by the few pixels that the depth is found to lie beside it before a network that sees both "
        "looks at them: outlines then lie on the depth that the clouds are cut out of.",
    )
    tile_width_px: int = setting(
        0,
        "Besides the whole image, overlapping tiles of this width and the image's proportion are segmented, for "
        "objects that are small in a large image; at least a quarter of its width. A frame takes as many times as long "
        "as there are tiles. 0: none.",
        minimum=0,
        maximum=8192,
    )
    tile_overlap: float = setting(
        0.25, "Share of a tile's side that it has in common with the next one, at least.", minimum=0.0, maximum=0.9
    )
    second_model_path: str = setting(
        "",
        "Another model, as model_path, whose instances are added; what both find is one instance. Each model doubles "
        "the time. Empty: none.",
    )
    prompt_model_path: str = setting(
        "",
        "A promptable model (SAM, SAM 2 or 3) that answers the points and rectangles of prompts: the path of a folder "
        "of transformers, or its name on the Hugging Face hub. Empty: points select among what the model found, and "
        "rectangles are answered from the depth.",
    )
    text_model_path: str = setting(
        "",
        "A model that finds what words name (OWL-ViT, OWLv2, Grounding DINO, SAM 3): a folder of transformers, or "
        "its name on the Hugging Face hub. Its rectangles become masks by the promptable model, or else from the "
        "depth. Empty: words select among the classes of what the model found.",
    )
    text_score_threshold: float = setting(
        -1.0,
        "What words find below this score is left out; -1: the threshold that is usual for the model.",
        minimum=-1.0,
        maximum=1.0,
    )


@dataclasses.dataclass(frozen=True)
class LiftingSettings(Settings):
    """From masks to clouds, centres and boxes."""

    mask_erosion_px: int = setting(
        2,
        "Pixels removed from each mask's border before lifting, because depth is often wrong there.",
        minimum=0,
        maximum=20,
    )
    depth_step_m: float = setting(
        0.008,
        "A jump in depth between neighbouring pixels is an edge if it exceeds this, in metres.",
        minimum=0.0005,
        maximum=0.5,
    )
    depth_step_ratio: float = setting(
        0.015, "To be an edge, a jump must also exceed this share of the depth.", minimum=0.0, maximum=0.5
    )
    outlier_mad_factor: float = setting(
        4.0,
        "Points farther from an object's median depth than this many robust standard deviations are rejected.",
        minimum=1.0,
        maximum=100.0,
    )
    min_points: int = setting(
        50,
        "An instance with fewer usable points is published without a 3D position; its status says why.",
        minimum=10,
        maximum=100_000,
    )
    plane_tolerance_m: float = setting(
        0.008,
        "Points within this distance of the support plane belong to it, in metres.",
        minimum=0.001,
        maximum=0.1,
    )
    use_support_plane: bool = setting(
        True, "Find the plane that the objects stand on, and complete their hidden parts down to it."
    )
    completed_shapes: bool = setting(
        False,
        "Also publish each completed object as a closed mesh of a few kB, which tells measured from assumed.",
    )


@dataclasses.dataclass(frozen=True)
class GripperSettings(Settings):
    """A parallel-jaw gripper as boxes: two fingers and a palm; the tool centre point lies between the fingertips.

    Values that are 0 are those of the preset, and are filled in when the object is made: nobody reads a 0. Where
    `dataclasses.replace` names another preset, values that were filled in become those of the new one; those that were
    set before stay, equal to the old preset's or not. (One that the same call sets to what was filled in looks filled.)

    Raises:
        ValueError: for a preset that there is none of, a file that is none, or a value out of range.
    """

    preset: str = setting(
        "parallel_80mm",
        "The gripper: one that `instance-seg gripper` lists, or the path of a YAML file of your own. The values below "
        "that are not 0 replace those of the preset.",
    )
    max_opening_m: float = setting(
        0.0, "Largest distance between the fingers, in metres; 0: the preset's.", minimum=0.0, maximum=1.0
    )
    finger_thickness_m: float = setting(
        0.0,
        "Thickness of a finger along the closing direction, in metres; 0: the preset's.",
        minimum=0.0,
        maximum=0.2,
    )
    finger_width_m: float = setting(
        0.0, "Width of a finger across the closing direction, in metres; 0: the preset's.", minimum=0.0, maximum=0.2
    )
    finger_length_m: float = setting(
        0.0, "Length of the fingers from palm to tip, in metres; 0: the preset's.", minimum=0.0, maximum=0.5
    )
    palm_depth_m: float = setting(
        0.0, "Depth of the palm behind the fingers, in metres; 0: the preset's.", minimum=0.0, maximum=0.5
    )
    palm_width_m: float = setting(
        0.0, "Width of the palm along the closing direction, in metres; 0: the preset's.", minimum=0.0, maximum=1.0
    )
    palm_height_m: float = setting(
        0.0, "Height of the palm across the closing direction, in metres; 0: the preset's.", minimum=0.0, maximum=0.5
    )
    force_n: float = setting(
        0.0, "Force that the fingers close with, in newtons; 0: the preset's.", minimum=0.0, maximum=1000.0
    )
    pad_friction: float = setting(
        0.0,
        "Friction coefficient between pads and objects that grasps may rely on; 0: the preset's.",
        minimum=0.0,
        maximum=2.0,
    )

    filled: Mapping[str, float] = dataclasses.field(default_factory=dict, repr=False, compare=False, hash=False)
    """The values that were filled in; no setting, but what `dataclasses.replace` hands on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        names = tuple(field.name for field in fields_of(GripperSettings) if field.type is float)
        values = read_gripper(self.preset, names).values
        filled = {name: values[name] for name in names if getattr(self, name) in (0, self.filled.get(name))}
        for name, value in filled.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "filled", filled)


@dataclasses.dataclass(frozen=True)
class GraspingSettings(Settings):
    """Grasp candidates, their collision check and ranking."""

    enabled: bool = setting(True, "Compute grasps.")
    max_grasps: int = setting(
        10, "At most this many grasps of an instance are published, the best ones.", minimum=1, maximum=1000
    )
    min_quality: float = setting(
        0.5, "Grasps that are less likely to hold than this are not published.", minimum=0.0, maximum=1.0
    )
    friction: float = setting(
        0.0,
        "Friction coefficient that grasps may rely on at their contacts; 0: the gripper's pad_friction.",
        minimum=0.0,
        maximum=2.0,
    )
    approach_distance_m: float = setting(
        0.08, "Length of the free path that the gripper needs for its approach, in metres.", minimum=0.0, maximum=1.0
    )
    lift_distance_m: float = setting(
        0.1, "How far an object is lifted after the grasp, in metres.", minimum=0.0, maximum=1.0
    )
    approach_cone_deg: float = setting(
        90.0,
        "Largest angle between the approach and straight down (without a support: the line of sight), in degrees.",
        minimum=0.0,
        maximum=90.0,
    )
    clearance_m: float = setting(
        0.004,
        "Distance that the gripper keeps from everything except the object it grasps, in metres.",
        minimum=0.0,
        maximum=0.1,
    )
    closing_axis: str = setting(
        "x", "Axis of the published grasp along which the fingers close; +z always approaches.", choices=("x", "y")
    )
    instance_order: str = setting(
        "score",
        "Order of the instances in InstanceArray and instances.json. score: the highest first. picking: first what may "
        "be lifted first: what nothing stands on before what carries something, then by the quality of the best grasp; "
        "what has no grasp comes last.",
        choices=("score", "picking"),
    )
    tcp_to_flange_m: float = setting(
        0.0,
        "Moves the published pose back along the approach, from the ends of the fingers to the link that your robot "
        "is told to move, in metres.",
        minimum=0.0,
        maximum=1.0,
    )


@dataclasses.dataclass(frozen=True)
class TrackingSettings(Settings):
    """Stable ids over time."""

    max_distance_m: float = setting(
        0.15,
        "An instance farther than this from where a track is expected does not continue that track, in metres; where "
        "its place is uncertain, up to twice as far.",
        minimum=0.005, maximum=5.0,
    )  # fmt: skip
    max_missed_frames: int = setting(
        15,
        "A track ends once more frames than this have seen its place empty; its id is never used again.",
        minimum=0,
        maximum=10_000,
    )
    first_pass_score: float = setting(
        0.5,
        "Instances with at least this score choose first among the tracks that fit them well; the others may continue "
        "the tracks that are left.",
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
