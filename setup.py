"""Installs the core, which needs no ROS, and the `instance-seg` command: `pip install .`

The ROS 2 package around it (messages, node, launch files) is built by colcon from CMakeLists.txt.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def version() -> str:
    """The version that the package itself states."""
    match = re.search(r'^__version__ = "(.+)"$', (ROOT / "instance_seg_ros" / "__init__.py").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError('instance_seg_ros/__init__.py has no line __version__ = "..."')
    return match.group(1)


def manifest(name: str) -> Element:
    """An element of package.xml, so that both packages name the same licence and maintainer."""
    element = ElementTree.parse(ROOT / "package.xml").find(name)
    if element is None:
        raise RuntimeError(f"package.xml has no <{name}>")
    return element


def requirements(name: str) -> list[str]:
    """The packages that requirements/NAME.txt names itself."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]


setup(
    name="instance_seg_ros",
    version=version(),
    description="RGB-D instance segmentation with 3D boxes, grasps and tracks; the ROS-free core",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license=manifest("license").text,
    maintainer=manifest("maintainer").text,
    maintainer_email=manifest("maintainer").get("email"),
    python_requires=">=3.10",
    packages=[
        *find_packages(
            include=["instance_seg_ros", "instance_seg_ros.*"],
            exclude=["instance_seg_ros.ros*", "instance_seg_ros.demo*"],  # they need ROS
        ),
        "instance_seg_ros.interfaces",  # what `instance-seg bag` writes into a bag without ROS
    ],
    package_dir={"instance_seg_ros.interfaces": "msg"},
    package_data={
        "instance_seg_ros": ["py.typed", "segmentation/weights/*.onnx", "core/grippers/*.yaml", "lifting/*.npz"],
        "instance_seg_ros.interfaces": ["*.msg"],
    },
    install_requires=requirements("runtime"),
    extras_require={
        "openvino": ["openvino>=2024.6"],
        "rerun": ["rerun-sdk"],
        "rtx": ["onnx", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs", "torch"],
        "synth": requirements("demo"),
        "tensorboard": ["tensorboard"],
        "view": ["open3d"],
        "transformers": ["torch", "transformers"],
        "train": [*requirements("demo"), "faster-coco-eval", "matplotlib", "onnx", "pillow>=10", "torch"],
    },
    entry_points={"console_scripts": ["instance-seg = instance_seg_ros.commands.main:main"]},
)
