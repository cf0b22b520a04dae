"""The examples that the README shows or links to: planners against the real messages; a frame segmented without ROS."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.files.captures import write_capture
from instance_seg_ros.learning.synthetic.tabletop import SimulatedTabletop

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

# Where ROS 2 comes from wheels there is no rclcpp: this stands in for the names that the example uses, with the checks
# of printf's arguments, so that the messages' fields and their types are checked by a real compiler.
STAND_IN_FOR_RCLCPP = """\
#pragma once
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
namespace rclcpp
{
struct Logger {};
template<typename MessageT> struct Subscription { using SharedPtr = std::shared_ptr<Subscription<MessageT>>; };
class Node
{
public:
  explicit Node(const std::string &) {}
  Logger get_logger() const {return {};}
  template<typename MessageT>
  typename Subscription<MessageT>::SharedPtr create_subscription(
    const std::string &, int, std::function<void (const MessageT &)>) {return nullptr;}
};
inline void init(int, char **) {}
inline void spin(std::shared_ptr<Node>) {}
inline void shutdown() {}
}
#define RCLCPP_INFO(logger, ...) ((void)(logger), std::printf(__VA_ARGS__))
#define RCLCPP_WARN(logger, ...) ((void)(logger), std::printf(__VA_ARGS__))
"""


def include_folders() -> list[Path]:
    """One for each package of every sourced ROS prefix."""
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    return [folder for prefix in prefixes for folder in sorted((prefix / "include").glob("*")) if folder.is_dir()]


def test_the_cpp_planner_compiles_against_the_messages(tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    folders = include_folders()
    if compiler is None or not any(
        (folder / "instance_seg_ros/msg/instance_array.hpp").is_file() for folder in folders
    ):
        pytest.skip("needs a C++ compiler and the built messages (source env.sh)")
    if not any((folder / "rclcpp/rclcpp.hpp").is_file() for folder in folders):
        (tmp_path / "rclcpp").mkdir()
        (tmp_path / "rclcpp" / "rclcpp.hpp").write_text(STAND_IN_FOR_RCLCPP)
    includes = [option for folder in (tmp_path, *folders) for option in ("-isystem", str(folder))]
    command = [compiler, "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *includes]
    result = subprocess.run([*command, str(EXAMPLES / "cpp" / "planner.cpp")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_cpp_example_is_a_whole_package() -> None:
    cmake = (EXAMPLES / "cpp" / "CMakeLists.txt").read_text()
    manifest = (EXAMPLES / "cpp" / "package.xml").read_text()
    for package in ("ament_cmake", "instance_seg_ros", "rclcpp"):
        assert f"find_package({package} REQUIRED)" in cmake
        assert f">{package}</" in manifest
    assert "add_executable(planner planner.cpp)" in cmake


def test_the_example_without_ros_prints_objects_where_they_are_and_grasps_that_are_poses(tmp_path: Path) -> None:
    simulated = next(SimulatedTabletop(seed=0))
    write_capture(tmp_path, simulated.frame)
    folders = [str(EXAMPLES.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    shown = subprocess.run(
        [sys.executable, str(EXAMPLES / "segment_frame.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    objects = re.findall(r"^#(\d+) object ([01]\.\d\d) at \[(.+)\], grasp:\n([^#]+)", shown, re.MULTILINE)
    assert [track_id for track_id, *_ in objects] == [str(index + 1) for index in range(len(objects))]
    sure = [centroid_m for _, score, centroid_m, _ in objects if float(score) > 0.6]
    assert len(sure) >= 3
    for centroid_m in sure:
        x, y = np.rint(simulated.frame.intrinsics.project(np.array(centroid_m.split(), dtype=float))).astype(int)
        assert simulated.ids[y, x] > 0, "no object is there in truth"
    grasps = [np.fromstring(re.sub(r"[\[\]]", " ", grasp), sep=" ") for *_, grasp in objects if "[" in grasp]
    assert len(grasps) >= 2
    for grasp in grasps:
        rotation = grasp.reshape(4, 4)[:3, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)


def test_the_loop_clears_a_pile_in_the_simulation() -> None:
    pytest.importorskip("mujoco")
    shown = subprocess.run(
        [sys.executable, str(EXAMPLES / "clear_pile.py"), "3"], check=True, capture_output=True, text=True
    ).stdout
    lines = shown.splitlines()
    assert lines[-1].endswith(" of 5 objects left") and int(lines[-1].split()[0]) <= 1
    assert sum(line.endswith(": held") for line in lines) == 5 - int(lines[-1].split()[0])
