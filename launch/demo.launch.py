"""Starts a camera without a camera, the node on it, and rviz with rviz:=true.

ros2 launch instance_seg_ros demo.launch.py rviz:=true
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

PACKAGE = "instance_seg_ros"


def generate_launch_description() -> LaunchDescription:
    """The arguments, the camera, and the node with rviz where it is asked for."""
    share = Path(get_package_share_directory(PACKAGE))
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "frames_dir", default_value="", description="Captures to show; empty: simulated ones."
            ),
            DeclareLaunchArgument("bag", default_value="", description="rosbag2 to show; empty: simulated frames."),
            DeclareLaunchArgument("rate", default_value="5.0", description="Frames a second."),
            DeclareLaunchArgument(
                "model_path", default_value="", description="Path of the model file; empty: the shipped one."
            ),
            DeclareLaunchArgument("rviz", default_value="false", description="Start rviz with the package's layout."),
            # First, because it sets the middleware up for images, also for the camera.
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(share / "launch" / "instance_seg.launch.py")),
                launch_arguments={name: LaunchConfiguration(name) for name in ("model_path", "rviz")}.items(),
            ),
            OpaqueFunction(function=start_camera),
        ]
    )


def start_camera(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The camera node with the source that the arguments name, again and again: the node may start later."""
    options = ["--repeat"]
    for argument, option in (("frames_dir", "--frames-dir"), ("bag", "--bag"), ("rate", "--rate")):
        value = str(LaunchConfiguration(argument).perform(context))
        if value:
            options += [option, value]
    return [Node(package=PACKAGE, executable="camera_node", name="camera", output="screen", arguments=options)]
