"""Settings: one frozen dataclass a stage, each setting defined once with its default, range, unit and help.

The ROS parameters and their descriptors, the YAML file, the command line's options and docs/parameters.md are all made
from these fields (`fields_of`), so a default or a sentence of help exists in one place.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_type_hints

from instance_seg_ros.core.errors import InputError

SettingsType = TypeVar("SettingsType", bound="Settings")
SettingValue = bool | int | float | str


def setting(
    default: SettingValue,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with the facts that every surface shows; numbers need both bounds, `inf` for none."""
    if isinstance(default, (int, float)) and not isinstance(default, bool) and (minimum is None or maximum is None):
        raise TypeError(f"a number needs minimum and maximum: {help}")
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting as the surfaces need it."""

    name: str
    type: type
    default: SettingValue
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] | None

    @property
    def range(self) -> str | None:
        """The bounds of a number, such as "0.005 to 1" or "1 to 1000000"; None for anything else."""
        if self.minimum is None or self.maximum is None:
            return None
        return f"{_plain(self.minimum)} to {_plain(self.maximum)}"

    def check(self, value: SettingValue) -> SettingValue:
        """The value, an int widened where a float is meant.

        Raises:
            ValueError: naming the setting, the value and what is allowed.
        """
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not self.type:
            raise ValueError(f"{self.name} must be of type {self.type.__name__}, not {value!r}")
        if (
            isinstance(value, (int, float))
            and self.minimum is not None
            and self.maximum is not None
            and (math.isnan(value) or not self.minimum <= value <= self.maximum)
        ):
            allowed = f"{_plain(self.minimum)} and {_plain(self.maximum)}"
            raise ValueError(f"{self.name} must be between {allowed}, not {value}")
        if self.choices is not None and value not in self.choices:
            raise ValueError(f"{self.name} must be one of {', '.join(self.choices)}, not {value!r}")
        return value


def _plain(number: float) -> str:
    """The number without an exponent where that is shorter to read: 1000000, 0.0005."""
    return f"{number:.15g}"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base of the stages' settings: every value is checked against its field when the object is made."""

    def __post_init__(self) -> None:
        for field in fields_of(type(self)):
            object.__setattr__(self, field.name, field.check(getattr(self, field.name)))


def fields_of(settings_type: type[Settings]) -> Iterator[Setting]:
    """The settings of a stage in the order in which they are defined."""
    types = get_type_hints(settings_type)
    for field in dataclasses.fields(settings_type):
        yield Setting(field.name, types[field.name], field.default, **field.metadata)  # type: ignore[arg-type]


def from_mapping(settings_type: type[SettingsType], values: Mapping[str, SettingValue]) -> SettingsType:
    """The settings with these values, the defaults for what is not named.

    Raises:
        ValueError: for a name that the stage does not have (with the names it has) or a value out of range.
    """
    known = [field.name for field in fields_of(settings_type)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{settings_type.__name__} has no {', '.join(unknown)}; it has {', '.join(known)}")
    return settings_type(**values)


def add_arguments(parser: argparse.ArgumentParser, settings_type: type[Settings], title: str, prefix: str = "") -> None:
    """Add one `--name` option for each setting, with its help, range and default; `prefix` keeps stages apart."""
    group = parser.add_argument_group(title)
    for field in fields_of(settings_type):
        option = "--" + f"{prefix}{field.name}".replace("_", "-")
        shown = _option_help(field).replace("%", "%%")
        if field.type is bool:
            group.add_argument(option, action=argparse.BooleanOptionalAction, default=field.default, help=shown)
        elif field.choices is not None:
            group.add_argument(option, type=field.type, default=field.default, choices=field.choices, help=shown)
        else:
            metavar = _METAVARS[field.type]
            group.add_argument(option, type=field.type, default=field.default, metavar=metavar, help=shown)


_METAVARS = {int: "N", float: "X", str: "TEXT"}


def _option_help(field: Setting) -> str:
    """The help of an option: argparse shows the choices itself, and an empty text says what it means in its help."""
    default = ("on" if field.default else "off") if field.type is bool else str(field.default)
    allowed = f" Range: {field.range}." if field.range else ""
    return f"{field.help}{allowed}" + (f" (default: {default})" if default else "")


def from_arguments(arguments: argparse.Namespace, settings_type: type[SettingsType], prefix: str = "") -> SettingsType:
    """The settings that `add_arguments` options of the same prefix carry.

    Raises:
        InputError: naming the setting, the value and what is allowed.
    """
    values = {field.name: getattr(arguments, prefix + field.name) for field in fields_of(settings_type)}
    try:
        return settings_type(**values)
    except ValueError as error:
        raise InputError(str(error)) from error


def describe(field: Setting) -> str:
    """The help with the allowed values, as one line."""
    if field.choices is not None:
        return f"{field.help} One of: {', '.join(field.choices)}."
    return f"{field.help} Range: {field.range}." if field.range else field.help


@dataclasses.dataclass(frozen=True)
class SegmentationSettings(Settings):
    """The network and what is kept of its output."""

    backend: str = setting(
        "auto",
        "What runs the network: tensorrt, ONNX Runtime's providers onnxruntime-tensorrt and onnxruntime-cuda, or "
        "pytorch, on an NVIDIA GPU, whose first frame waits until all is prepared; onnxruntime or openvino on the CPU. "
        "auto takes the first of these that works here; until it is ready, and without a GPU, the faster one of those "
        "for the CPU serves, which it measures.",
        choices=(
            "auto",
            "tensorrt",
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
