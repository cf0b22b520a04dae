"""Launch files and the rviz layout: their names are those of the node, and they load where launch is installed."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from instance_seg_ros.ros.inputs import FASTDDS_PROFILE, FASTDDS_VARIABLES

ROOT = Path(__file__).parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
OUTPUTS = {f"/instance_seg/{name}" for name in ("instances", "label_image", "overlay", "cloud", "markers")}


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_a_launch_file_compiles(path: Path) -> None:
    compile(path.read_text(), str(path), "exec")


def test_every_input_of_the_node_is_an_argument() -> None:
    text = (ROOT / "launch" / "instance_seg.launch.py").read_text()

    for topic in ("color/image_raw", "color/camera_info", "depth/image_raw", "depth/camera_info"):
        assert f'"{topic}"' in text


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("own_profile", ["", "/of/the/user.xml"])
def test_a_launch_file_describes_processes_of_this_package_with_shared_memory_for_images(
    path: Path, own_profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = pytest.importorskip("launch")
    pytest.importorskip("launch_ros")
    from launch.actions import ExecuteProcess

    for name in FASTDDS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        if own_profile:
            monkeypatch.setenv(name, own_profile)
    description = runpy.run_path(str(path))["generate_launch_description"]()
    context = launch.LaunchContext()
    started: list[Any] = []
    profiles: list[str] = []

    def visit(entities: list[Any]) -> None:
        for entity in entities:
            if isinstance(entity, ExecuteProcess):
                if entity.condition is None or entity.condition.evaluate(context):
                    started.append(entity)
                    profiles.extend(context.environment[name] for name in FASTDDS_VARIABLES)
            else:
                visit(entity.visit(context) or [])

    visit(description.entities)
    executables = {node.node_executable for node in started}
    expected = {"demo.launch.py": {"camera_node", "instance_seg_node"}, "instance_seg.launch.py": {"instance_seg_node"}}
    assert executables == expected[path.name]
    assert set(profiles) == {own_profile or str(FASTDDS_PROFILE)}


def test_the_rviz_layout_shows_topics_that_the_node_publishes() -> None:
    yaml = pytest.importorskip("yaml")
    layout = yaml.safe_load((ROOT / "config" / "instance_seg.rviz").read_text())

    displays = layout["Visualization Manager"]["Displays"]
    topics = {display["Topic"]["Value"] for display in displays if "Topic" in display}

    assert topics <= OUTPUTS
    assert {"/instance_seg/overlay", "/instance_seg/cloud", "/instance_seg/markers"} <= topics
