"""The planners of examples/ against the real generated messages: they are what the README shows or links to."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

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
