"""The contracts of pyproject.toml on who may import whom: kept as the package is, broken by an import against them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package's sources with the contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    sources = shutil.ignore_patterns("__pycache__", "*.onnx", "*.npz")
    shutil.copytree(ROOT / "instance_seg_ros", tmp_path / "instance_seg_ros", ignore=sources)
    return tmp_path


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LINT_IMPORTS, "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True)


def test_the_contracts_are_kept(checkout: Path) -> None:
    checked = lint(checkout)
    assert checked.returncode == 0, checked.stdout
    assert "0 broken" in checked.stdout


@pytest.mark.parametrize(
    ("importer", "imported", "contract"),
    [
        ("core/errors.py", "instance_seg_ros.files.atomic", "Rooms import only those below them"),
        ("grasping/grasp.py", "instance_seg_ros.tracking.tracker", "Rooms import only those below them"),
        ("bags/names.py", "instance_seg_ros.learning.models.layers", "What runs on a robot knows nothing"),
        ("ros/worker.py", "instance_seg_ros.demo.demo", "What runs on a robot knows nothing"),
        ("files/atomic.py", "rclpy", "Only the node and the demo import ROS"),
        ("commands/synth.py", "sensor_msgs.msg", "Only the node and the demo import ROS"),
        ("learning/models/layers.py", "instance_seg_ros.learning.training.log", "The arrows inside learning"),
        ("learning/export/int8.py", "instance_seg_ros.learning.datasets.groups", "Neither models nor exports know"),
        ("learning/evaluation/classes.py", "instance_seg_ros.learning.models.fpn", "A judge knows a network"),
    ],
)
def test_an_import_against_them_is_found(checkout: Path, importer: str, imported: str, contract: str) -> None:
    with (checkout / "instance_seg_ros" / importer).open("a") as source:
        source.write(f"\nimport {imported}\n")
    checked = lint(checkout)
    assert checked.returncode != 0
    broken = " ".join(checked.stdout.partition("Broken contracts")[2].split())
    assert contract in broken
    module = f"instance_seg_ros.{importer.removesuffix('.py').replace('/', '.')}"
    assert f"{module} -> {imported.removesuffix('.msg')}" in broken


def test_a_room_that_the_contracts_do_not_place_is_found(checkout: Path) -> None:
    (checkout / "instance_seg_ros" / "attic").mkdir()
    (checkout / "instance_seg_ros" / "attic" / "__init__.py").write_text("")
    checked = lint(checkout)
    assert checked.returncode != 0
    assert "instance_seg_ros.attic" in checked.stdout
