"""Launch files and the rviz layout: their names are those of the node, and they load where launch is installed."""

from __future__ import annotations

import contextlib
import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from rclpy.node import Node

from instance_seg_ros.ros.middleware import PROFILES

ROOT = Path(__file__).parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
OUTPUTS = {f"/instance_seg/{name}" for name in ("instances", "label_image", "overlay", "cloud", "markers")}


def processes_of(entities: list[Any], context: Any) -> Iterator[Any]:
    """The processes that a description starts, each when it would be started."""
    from launch.actions import ExecuteProcess

    for entity in entities:
        if isinstance(entity, ExecuteProcess):
            yield entity
        else:
            yield from processes_of(entity.visit(context) or [], context)


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_a_launch_file_compiles(path: Path) -> None:
    compile(path.read_text(), str(path), "exec")


def test_every_input_of_the_node_is_an_argument() -> None:
    text = (ROOT / "launch" / "instance_seg.launch.py").read_text()

    for topic in ("color/image_raw", "color/camera_info", "depth/image_raw", "depth/camera_info"):
        assert f'"{topic}"' in text


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("own_profile", ["", "/of/the/user.xml"])
def test_a_launch_file_describes_processes_of_this_package_with_room_for_images(
    path: Path, own_profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = pytest.importorskip("launch")
    pytest.importorskip("launch_ros")
    for name in PROFILES:
        monkeypatch.delenv(name, raising=False)
        if own_profile:
            monkeypatch.setenv(name, own_profile)
    description = runpy.run_path(str(path))["generate_launch_description"]()
    context = launch.LaunchContext()
    executables: set[str] = set()
    profiles: list[dict[str, str]] = []
    for process in processes_of(description.entities, context):
        executables.add(process.node_executable)
        profiles.append({name: context.environment[name] for name in PROFILES})
    expected = {"demo.launch.py": {"camera_node", "instance_seg_node"}, "instance_seg.launch.py": {"instance_seg_node"}}
    assert executables == expected[path.name]
    assert profiles == [dict.fromkeys(PROFILES, own_profile) if own_profile else PROFILES] * len(executables)


def test_without_rviz2_asking_for_rviz_starts_nothing() -> None:
    launch = pytest.importorskip("launch")
    pytest.importorskip("launch_ros")
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    with contextlib.suppress(PackageNotFoundError):
        pytest.skip(f"rviz2 is installed in {get_package_prefix('rviz2')}")
    description = runpy.run_path(str(ROOT / "launch" / "instance_seg.launch.py"))["generate_launch_description"]()
    context = launch.LaunchContext()
    context.launch_configurations["rviz"] = "true"
    started: list[Any] = []
    with pytest.raises(RuntimeError, match="rviz2 is not installed; apt install"):
        started.extend(processes_of(description.entities, context))
    assert started == []


@pytest.mark.parametrize(
    ("namespace", "name", "node"),
    [
        ("", "instance_seg", "/instance_seg"),
        ("robot1", "tote", "/robot1/tote"),
        ("/robot1/left", "instance_seg", "/robot1/left/instance_seg"),
    ],
)
def test_rviz_shows_the_topics_of_a_node_of_any_name(namespace: str, name: str, node: str) -> None:
    pytest.importorskip("launch_ros")
    yaml = pytest.importorskip("yaml")
    remappings = runpy.run_path(str(ROOT / "launch" / "instance_seg.launch.py"))["rviz_remappings"]
    layout = yaml.safe_load((ROOT / "config" / "instance_seg.rviz").read_text())
    shown = [display["Topic"]["Value"] for display in layout["Visualization Manager"]["Displays"] if "Topic" in display]
    assert remappings(namespace, name) == [(topic, topic.replace("/instance_seg", node)) for topic in shown]


@pytest.mark.parametrize(("frame", "options"), [("", []), ("zed_optical", ["-f", "zed_optical"])])
def test_rviz_shows_the_layout_in_the_frame_that_is_asked_for(
    frame: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = pytest.importorskip("launch")
    pytest.importorskip("launch_ros")
    from launch.utilities import perform_substitutions

    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "rviz2").touch()
    (tmp_path / "lib" / "rviz2").mkdir(parents=True)
    (tmp_path / "lib" / "rviz2" / "rviz2").touch(mode=0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path), prepend=os.pathsep)
    description = runpy.run_path(str(ROOT / "launch" / "instance_seg.launch.py"))["generate_launch_description"]()
    context = launch.LaunchContext()
    context.launch_configurations.update({"rviz": "true", "fixed_frame": frame})

    rviz = next(processes_of(description.entities, context))

    program, option, layout, *others = [perform_substitutions(context, words) for words in rviz.cmd]
    assert (program, option, Path(layout).name) == (str(tmp_path / "lib/rviz2/rviz2"), "-d", "instance_seg.rviz")
    assert others[: len(options)] == options and ("-f" in others) == bool(options)


def test_the_topics_of_the_launch_file_follow_the_namespace(ros: None) -> None:
    pytest.importorskip("launch_ros")
    topics = runpy.run_path(str(ROOT / "launch" / "instance_seg.launch.py"))["TOPICS"]
    rules = [text for name, default, _ in topics.values() for text in ("-r", f"~/{name}:={default}")]
    for namespace, camera in (("", "/camera"), ("/robot1", "/robot1/camera")):
        node = Node("instance_seg", namespace=namespace, cli_args=["--ros-args", *rules])
        for name, _, _ in topics.values():
            assert node.resolve_topic_name(f"~/{name}") == f"{camera}/{name}"
        node.destroy_node()


def test_the_rviz_layout_shows_topics_that_the_node_publishes() -> None:
    yaml = pytest.importorskip("yaml")
    layout = yaml.safe_load((ROOT / "config" / "instance_seg.rviz").read_text())

    displays = layout["Visualization Manager"]["Displays"]
    topics = {display["Topic"]["Value"] for display in displays if "Topic" in display}

    assert topics <= OUTPUTS
    assert {"/instance_seg/overlay", "/instance_seg/cloud", "/instance_seg/markers"} <= topics
    tools = [tool["Topic"]["Value"] for tool in layout["Visualization Manager"]["Tools"] if "Topic" in tool]
    assert tools == ["/clicked_point"]
