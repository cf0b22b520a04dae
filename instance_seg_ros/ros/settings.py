"""Every parameter of the node: the node's own settings beside those of the pipeline's stages. Needs no ROS."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.parameters import PipelineSettings, stages
from instance_seg_ros.core.settings import Setting, Settings, SettingValue, describe, fields_of, setting

AUTO_RELIABILITY = "auto"


@dataclasses.dataclass(frozen=True)
class NodeSettings(Settings):
    """What only the node needs to know: its model, its inputs and what it does with a frame."""

    model_path: str = setting(
        "",
        "The model: path of a file of this project or another, or of a folder of transformers, or its name on the "
        "Hugging Face hub, or the name of a shipped one (instance-seg models); empty takes tabletop_rgbd.",
    )
    autostart: bool = setting(
        True, "Configure and activate at startup; false leaves that to a lifecycle manager. Read only at startup."
    )
    enabled: bool = setting(True, "Process frames while active; the service set_enabled sets this.")
    color_transport: str = setting(
        "raw",
        "How colour arrives: raw on color/image_raw, compressed (JPEG, PNG) on color/image_raw/compressed.",
        choices=("raw", "compressed"),
    )
    depth_transport: str = setting(
        "raw",
        "How depth arrives: raw on depth/image_raw, compressedDepth on depth/image_raw/compressedDepth, compressed "
        "(PNG of 16 bits in millimetres) on depth/image_raw/compressed.",
        choices=("raw", "compressed", "compressedDepth"),
    )
    input_reliability: str = setting(
        AUTO_RELIABILITY,
        "Reliability QoS of the subscriptions to the camera. reliable: lost messages are sent again, but a best-effort "
        "publisher is not heard. best_effort: every publisher is heard. auto: reliable for each topic whose publishers "
        "are all reliable.",
        choices=(AUTO_RELIABILITY, "reliable", "best_effort"),
    )
    rectified_inputs: bool = setting(
        False,
        "The images are rectified (image_proc): P of the CameraInfo describes them, not K, and they have no "
        "distortion.",
    )
    sync_tolerance_s: float = setting(
        0.025,
        "Colour and depth belong together if their stamps differ by no more than this, in seconds.",
        minimum=0.0,
        maximum=1.0,
    )
    input_timeout_s: float = setting(
        2.0,
        "An input that has been silent for longer than this is reported as missing, in seconds.",
        minimum=0.1,
        maximum=3600.0,
    )
    frame_timeout_s: float = setting(
        5.0, "A frame that has been at work for longer is reported, in seconds.", minimum=0.1, maximum=3600.0
    )
    max_image_pixels: int = setting(
        20_000_000,
        "Larger images are refused before memory is taken for them.",
        minimum=10_000,
        maximum=67_108_864,
    )
    fixed_frame: str = setting(
        "",
        "A frame that does not move (map, base_link), so that ids last while the camera moves; needs tf. Empty: "
        "told by the objects' common motion.",
    )
    level_frame: str = setting(
        "",
        "A frame whose z axis points straight up (base_link of a robot that stands level, map), so that no wall is "
        "taken for what objects stand on; needs tf. Empty: told by the planes around the objects.",
    )
    depth_camera_pose: str = setting(
        "",
        "Pose of the depth camera in the colour camera's optical frame as 'x y z qx qy qz qw', for depth that is not "
        "registered to colour. Empty: taken from tf, or not needed if both images have the same frame_id.",
    )
    record_seconds: float = setting(
        5.0,
        "The service record writes the inputs and results of this many last seconds; 0: nothing is kept.",
        minimum=0.0,
        maximum=60.0,
    )
    record_megabytes: int = setting(
        256,
        "Of the inputs and results that are kept for the service record, the oldest are let go beyond this size in "
        "memory, in megabytes.",
        minimum=0,
        maximum=65_536,
    )
    record_folder: str = setting(
        "", "Folder for what the service record writes; empty: instance_seg_ros in ROS's own folder (ROS_HOME, ~/.ros)."
    )
    instance_clouds: bool = setting(False, "Also put each object's points into its Instance message.")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.T_color_depth  # noqa: B018 - a pose that cannot be read is refused here, not at the first frame

    @property
    def longest_gap_s(self) -> float:
        """Between two results, without a report that an input is silent or that a frame is at work for too long."""
        return self.input_timeout_s + self.frame_timeout_s

    @property
    def T_color_depth(self) -> Transform | None:
        """`depth_camera_pose`, or None when it is empty.

        Raises:
            ValueError: quoting the text, when it is not a pose.
        """
        if not self.depth_camera_pose.strip():
            return None
        try:
            return Transform.from_text(self.depth_camera_pose)
        except ValueError as error:
            raise ValueError(f"depth_camera_pose {error}") from error


def all_parameters() -> dict[str, Setting]:
    """Parameter name (`sync_tolerance_s`, `lifting.min_points`) to its setting, the node's own first."""
    parameters = {field.name: field for field in fields_of(NodeSettings)}
    for stage, settings_type in stages().items():
        parameters |= {f"{stage}.{field.name}": field for field in fields_of(settings_type)}
    return parameters


def settings_of(values: Mapping[str, SettingValue]) -> tuple[NodeSettings, PipelineSettings]:
    """The settings with the given values by parameter name, the defaults for what is not named.

    Raises:
        ValueError: naming the setting, the value and what is allowed; KeyError for a name that no setting has.
    """
    grouped: dict[str, dict[str, SettingValue]] = {"": {}, **{stage: {} for stage in stages()}}
    for name, value in values.items():
        stage, _, field = name.rpartition(".")
        grouped[stage][field] = value
    pipeline = {stage: settings_type(**grouped[stage]) for stage, settings_type in stages().items()}
    return NodeSettings(**grouped[""]), PipelineSettings(**pipeline)  # type: ignore[arg-type]


def parameters_yaml() -> str:
    """The parameter file with every parameter, its help and its default, for any node name."""
    lines = [
        "# Every parameter of the node with its default. Written by `python -m instance_seg_ros.ros.settings`.",
        "/**:",
        "  ros__parameters:",
    ]
    section = ""
    for name, field in all_parameters().items():
        stage, _, key = name.rpartition(".")
        if stage != section:
            lines.append(f"    {stage}:")
            section = stage
        indent = " " * (6 if stage else 4)
        # JSON's scalars are YAML's, but for 1e-05, which YAML 1.1 takes for a string; no default is that small.
        lines += [f"{indent}# {describe(field)}", f"{indent}{key}: {json.dumps(field.default)}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(parameters_yaml(), end="")
