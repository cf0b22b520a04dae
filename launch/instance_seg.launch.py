"""Starts the node on a camera's topics.

    ros2 launch instance_seg_ros instance_seg.launch.py depth_image:=/camera/aligned_depth_to_color/image_raw

An argument that is left empty leaves its parameter as the parameter file has it. Fast DDS gets shared memory that holds
images and Cyclone DDS larger buffers, for the node and for what the same launch starts after it, unless a profile of
the user's own is set.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

from instance_seg_ros.ros.middleware import PROFILES

PACKAGE = "instance_seg_ros"

# Launch argument: input of the node, default (below the node's namespace), description.
TOPICS = {
    "color_image": ("color/image_raw", "camera/color/image_raw", "colour image"),
    "color_info": ("color/camera_info", "camera/color/camera_info", "CameraInfo of the colour image"),
    "depth_image": ("depth/image_raw", "camera/depth/image_raw", "depth image, best aligned to colour"),
    "depth_info": (
        "depth/camera_info",
        "camera/depth/camera_info",
        "CameraInfo of the depth image; used when depth is not aligned to colour",
    ),
}

RVIZ_TOPICS = ("cloud", "markers", "overlay")
"""What the layout shows, under the name that the node has by default."""


def generate_launch_description() -> LaunchDescription:
    """The arguments, the node, and rviz where it is asked for."""
    share = Path(get_package_share_directory(PACKAGE))
    arguments = {
        **{name: (default, f"Topic of the {description}.") for name, (_, default, description) in TOPICS.items()},
        "params_file": (str(share / "config" / "instance_seg.yaml"), "Parameter file of the node."),
        "model_path": ("", "Path of the model file; empty: as the parameter file says, which is the shipped model."),
        "autostart": ("", "true or false: configure and activate at start; empty: as the parameter file says (true)."),
        "use_sim_time": ("", "true or false: take the time from /clock; empty: as the parameter file says (false)."),
        "rviz": ("false", "true or false: start rviz with the package's layout."),
        "fixed_frame": ("", "Frame in which rviz shows all; empty: the layout's, camera_color_optical_frame."),
        "name": ("instance_seg", "Name of the node."),
        "namespace": ("", "Namespace of the node, and of topics that do not begin with a slash."),
        "log_level": ("info", "Lowest level that is logged: debug, info, warn, error."),
    }
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in arguments.items()
            ),
            *(
                SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=profile))
                for name, profile in PROFILES.items()
            ),
            OpaqueFunction(function=start_rviz),  # before the node: without rviz2 nothing starts
            OpaqueFunction(function=start_node),
        ]
    )


def start_rviz(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """rviz with the package's layout, where it is asked for.

    Raises:
        RuntimeError: naming the cure, when it is not installed.
    """
    if not truth_of("rviz", str(LaunchConfiguration("rviz").perform(context))):
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError as error:
        raise RuntimeError(
            "rviz is true, but rviz2 is not installed; apt install ros-$ROS_DISTRO-rviz2, or leave rviz:=true out"
        ) from error
    layout = Path(get_package_share_directory(PACKAGE)) / "config" / "instance_seg.rviz"
    keys = ("namespace", "name", "fixed_frame", "use_sim_time")
    namespace, name, frame, sim_time = (str(LaunchConfiguration(key).perform(context)) for key in keys)
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            arguments=["-d", str(layout), *(["-f", frame] if frame else [])],
            parameters=[{"use_sim_time": truth_of("use_sim_time", sim_time)}] if sim_time else [],
            remappings=rviz_remappings(namespace, name),
        )
    ]


def rviz_remappings(namespace: str, name: str) -> list[tuple[str, str]]:
    """From the topics of the layout to those of a node of this name."""
    node = f"{namespace.strip('/')}/{name}".lstrip("/")
    return [(f"/instance_seg/{topic}", f"/{node}/{topic}") for topic in RVIZ_TOPICS]


def start_node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node with the arguments as they were given."""

    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    overrides: dict[str, str | bool] = {"model_path": value("model_path")} if value("model_path") else {}
    overrides |= {name: truth_of(name, value(name)) for name in ("autostart", "use_sim_time") if value(name)}
    return [
        Node(
            package=PACKAGE,
            executable="instance_seg_node",
            name=value("name"),
            namespace=value("namespace"),
            output="screen",
            parameters=[value("params_file"), overrides],
            remappings=[(f"~/{topic}", value(argument)) for argument, (topic, _, _) in TOPICS.items()],
            ros_arguments=["--log-level", f"{value('name')}:={value('log_level')}"],
        )
    ]


def truth_of(name: str, text: str) -> bool:
    """The value of a true-or-false argument.

    Raises:
        ValueError: naming the argument.
    """
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{name} must be true or false, not {text!r}")
    return text.lower() == "true"
