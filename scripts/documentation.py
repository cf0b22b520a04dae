"""Writes the parts of README.md and docs/ that are made from the code, between their markers.

    source env.sh
    python scripts/documentation.py            write them
    python scripts/documentation.py --check    only say whether they are in step; exit status 1 when they are not

A part lies between `<!-- NAME:begin -->` and `<!-- NAME:end -->`, where NAME is one of `PARTS` or `file PATH` for the
text of a file of this repository.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from instance_seg_ros.commands.main import COMMANDS, PROGRAM
from instance_seg_ros.core.settings import Setting
from instance_seg_ros.core.status import REASONS
from instance_seg_ros.ros.settings import all_parameters

ROOT = Path(__file__).resolve().parents[1]

_MARKED = re.compile(r"(<!-- (?P<name>[^\n]+?):begin -->\n).*?(<!-- (?P=name):end -->)", re.DOTALL)
_LANGUAGES = {".py": "python", ".cpp": "cpp", ".txt": "cmake", ".xml": "xml", ".yaml": "yaml"}


@dataclass(frozen=True)
class Endpoint:
    """A topic or service of the node, as ROS knows it and as the documentation describes it."""

    name: str
    type: str
    text: str


INPUTS = (
    Endpoint("~/color/image_raw", "sensor_msgs/msg/Image", "colour; sets stamp and frame of every output"),
    Endpoint("~/color/camera_info", "sensor_msgs/msg/CameraInfo", "intrinsics of colour"),
    Endpoint("~/depth/image_raw", "sensor_msgs/msg/Image", "depth, `16UC1` (mm) or `32FC1` (m)"),
    Endpoint(
        "~/depth/camera_info", "sensor_msgs/msg/CameraInfo", "needed only for depth that is not registered to colour"
    ),
    Endpoint("/clicked_point", "geometry_msgs/msg/PointStamped", "a point clicked in rviz: which object is there?"),
)
OUTPUTS = (
    Endpoint("~/instances", "instance_seg_ros/msg/InstanceArray", "everything about every object, once for each frame"),
    Endpoint("~/selected", "instance_seg_ros/msg/InstanceArray", "what lies at a clicked point, once for each click"),
    Endpoint("~/label_image", "sensor_msgs/msg/Image", "`mono16`: 0 = background, otherwise the instance's `label`"),
    Endpoint(
        "~/panoptic_image",
        "sensor_msgs/msg/Image",
        "`mono16`: the instance's `label`; 32768 + class index: stuff of a panoptic model; by the depth 65533: what "
        "objects stand on, 65534: another large plane, 65535: the rest",
    ),
    Endpoint("~/camera_info", "sensor_msgs/msg/CameraInfo", "the camera of `label_image` and `overlay`: no distortion"),
    Endpoint(
        "~/overlay",
        "sensor_msgs/msg/Image",
        "`bgr8`, the picture for people; tags of flagged objects are rimmed in amber",
    ),
    Endpoint("~/cloud", "sensor_msgs/msg/PointCloud2", "the objects' points: x, y, z, rgb, label"),
    Endpoint("~/markers", "visualization_msgs/msg/MarkerArray", "boxes, axes, grasps and texts for rviz"),
    Endpoint("~/detections_2d", "vision_msgs/msg/Detection2DArray", "boxes of the masks, if vision_msgs is installed"),
    Endpoint("~/detections_3d", "vision_msgs/msg/Detection3DArray", "oriented boxes, if vision_msgs is installed"),
    Endpoint("~/moveit_grasps", "moveit_msgs/msg/Grasp", "every grasp, one by one, if moveit_msgs is installed"),
    Endpoint(
        "~/graspable_objects",
        "grasping_msgs/msg/GraspableObject",
        "every object with its grasps, one by one, if grasping_msgs is installed",
    ),
    Endpoint("~/gpd_samples", "gpd_ros/msg/CloudSamples", "GPD's input: cloud and samples, if gpd_ros is installed"),
    Endpoint("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", "what works, what does not and why"),
)
SERVICES = (
    Endpoint(
        "~/segment",
        "instance_seg_ros/srv/Segment",
        "one result on demand, by class, id, place or word, or cut out of rectangles",
    ),
    Endpoint("~/record", "std_srvs/srv/Trigger", "write the last seconds as an MCAP file, for a bug report"),
    Endpoint("~/set_enabled", "std_srvs/srv/SetBool", "process frames or rest"),
)


def parameters_table() -> str:
    """Every parameter of the node with its default, its range and its help."""
    rows = [
        (f"`{name}`", f"`{_shown(setting.default)}`", _range(setting), _escaped(setting.help))
        for name, setting in all_parameters().items()
    ]
    return _table(("parameter", "default", "allowed", "what it is"), rows)


def topics_table() -> str:
    """Inputs, outputs and services of the node."""
    rows = [
        (kind, f"`{endpoint.name}`", f"`{endpoint.type}`", endpoint.text)
        for kind, endpoints in (("in", INPUTS), ("out", OUTPUTS), ("service", SERVICES))
        for endpoint in endpoints
    ]
    return _table(("", "name", "type", "what it is"), rows)


def commands_table() -> str:
    """The subcommands of `instance-seg`."""
    rows = [(f"`{PROGRAM} {name}`", command.summary) for name, command in COMMANDS.items()]
    return _table(("command", "what it does"), rows)


def status_table() -> str:
    """The flags of an instance's status."""
    rows = [(f"`STATUS_{flag.name}`", str(flag.value), text) for flag, text in REASONS.items()]
    return _table(("flag", "value", "meaning"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "parameters": parameters_table,
    "topics": topics_table,
    "commands": commands_table,
    "status": status_table,
}


def rendered(text: str) -> str:
    """The text with every marked part written again.

    Raises:
        ValueError: for a part that is neither in `PARTS` nor a file, or a marker without its other half.
    """
    if text.count(":begin -->") != len(_MARKED.findall(text)) or text.count(":end -->") != text.count(":begin -->"):
        raise ValueError("a marker lacks its begin or its end")
    return _MARKED.sub(lambda match: f"{match[1]}{_part(match['name'])}\n{match[3]}", text)


def documents() -> list[Path]:
    """The files that may have parts."""
    names = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
    return [*(ROOT / name for name in names), *sorted((ROOT / "docs").glob("**/*.md"))]


def _part(name: str) -> str:
    if name in PARTS:
        return PARTS[name]()
    kind, _, path = name.partition(" ")
    if kind != "file" or not (ROOT / path).is_file():
        raise ValueError(f"no part is named {name!r}; there are {', '.join(PARTS)} and 'file PATH'")
    return f"```{_LANGUAGES.get(Path(path).suffix, '')}\n{(ROOT / path).read_text().rstrip()}\n```"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else (f'"{value}"' if isinstance(value, str) else str(value))


def _range(setting: Setting) -> str:
    if setting.choices is not None:
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    if setting.type is bool:
        return "`true`, `false`"
    return setting.range or "text"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str] | None = None) -> int:
    """Writes or checks; returns the exit status."""
    parser = argparse.ArgumentParser(description="Writes the parts of the documentation that are made from the code.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 when a part is stale")
    args = parser.parse_args(arguments)
    stale = []
    for path in documents():
        text = path.read_text()
        if (new := rendered(text)) != text:
            stale.append(path.relative_to(ROOT))
            if not args.check:
                path.write_text(new)
    if stale and args.check:
        print(f"not in step with the code: {', '.join(map(str, stale))}; run python scripts/documentation.py")
        return 1
    print(f"wrote {', '.join(map(str, stale))}" if stale else "the documentation is in step with the code")
    return 0


if __name__ == "__main__":
    sys.exit(main())
