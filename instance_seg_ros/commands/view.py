"""`instance-seg view`: a result of `segment` in a window that turns with the mouse (Open3D)."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.geometry import BOX_EDGES, OrientedBox, Transform
from instance_seg_ros.core.open3d_library import load_open3d
from instance_seg_ros.files.result_files import CLOUD_FILE, INSTANCES_FILE, OVERLAY_FILE
from instance_seg_ros.results.drawing import color_of_track

EPILOG = """\
Shows the cloud of the whole frame, the box of every object and its best grasps: a line between the contacts and the way
in, from red (quality 0) to green (1). The camera stands at the origin, x to the right, y down, z forward.

example:
  instance-seg segment --capture capture --out results && instance-seg view results
"""
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
_BACKGROUND_RGB = np.array([40, 44, 52]) / 255
"""As in the rviz layout. On Open3D's white, where the camera measured nothing looks like something white."""
_POINT_PX, _ZOOM = 2.0, 0.5
"""Of Open3D's own 5 px, dense clouds look like tiles; at its own zoom, the scene takes a quarter of the window."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `instance-seg view`."""
    parser.epilog = EPILOG
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder that `segment` or the demo wrote")
    parser.add_argument("--grasps", type=int, default=1, metavar="N", help="of each object (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Shows the result until the window is closed; returns the exit status.

    Raises:
        InputError: the folder holds no result, there is no screen to show it on, or Open3D is not installed or lacks a
            system library.
    """
    if args.grasps < 0:
        raise InputError(f"--grasps must be 0 or more, not {args.grasps}")
    _document(args.results / INSTANCES_FILE)  # a wrong folder is told before what is to be installed
    try:
        open3d = load_open3d()
    except ModuleNotFoundError as error:
        if error.name != "open3d":
            raise
        raise InputError(
            f"the window is one of Open3D, which neither `make setup` nor pip install instance-seg-ros brings: "
            f"{sys.executable} -m pip install open3d. Without it: {args.results / OVERLAY_FILE} is the picture, and "
            f"any viewer of PLY files shows {CLOUD_FILE} beside it"
        ) from error
    shown = geometries(args.results, args.grasps)
    if sys.platform == "linux" and not any(os.environ.get(name) for name in _DISPLAYS):
        raise InputError(f"there is no screen here ({' and '.join(_DISPLAYS)} are not set): copy {args.results} to one")
    window = open3d.visualization.Visualizer()
    if not window.create_window(window_name=str(args.results)):
        raise InputError("Open3D cannot open a window here: it needs OpenGL")
    for geometry in shown:
        window.add_geometry(geometry)
    look, view = window.get_render_option(), window.get_view_control()
    look.background_color, look.point_size = _BACKGROUND_RGB, _POINT_PX
    view.set_front([0, 0, -1])  # as the camera sees it
    view.set_up([0, -1, 0])
    view.set_zoom(_ZOOM)
    window.run()
    window.destroy_window()
    return 0


def geometries(results: Path, grasps: int) -> list[Any]:
    """A result as Open3D's geometries: the cloud, a set of lines for each box, and one for each grasp.

    Raises:
        InputError: the folder holds no result.
    """
    import open3d

    document, cloud_path = _document(results / INSTANCES_FILE), results / CLOUD_FILE
    if not cloud_path.is_file():
        raise InputError(f"{cloud_path} is missing")
    shown = [open3d.io.read_point_cloud(cloud_path)]
    for instance in document["instances"]:
        box = instance["box"]
        if box is not None:
            oriented = OrientedBox(
                Transform.from_quaternion(box["quaternion_xyzw"], box["center_m"]), np.array(box["size_m"])
            )
            color = np.array(color_of_track(instance["track_id"])) / 255
            shown.append(_lines(oriented.corners_m, BOX_EDGES, color))
        for grasp in instance["grasps"][:grasps]:
            pose = Transform.from_quaternion(grasp["quaternion_xyzw"], grasp["position_m"])
            start_m = pose.apply(np.array([0.0, 0.0, -grasp["approach_distance_m"]]))
            points_m = np.array([*grasp["contacts_m"], pose.translation_m, start_m])
            quality = grasp["quality"]
            shown.append(_lines(points_m, [(0, 1), (2, 3)], np.array([1 - quality, quality, 0.1])))
    return shown


def _document(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read, is {path.parent} a folder that segment wrote? {error}") from error
    if not isinstance(document, dict) or "instances" not in document:
        raise InputError(f"{path} is not what segment writes")
    return document


def _lines(points_m: NDArray[np.float64], pairs: list[tuple[int, int]], rgb: NDArray[np.float64]) -> Any:
    import open3d

    lines = open3d.geometry.LineSet(
        open3d.utility.Vector3dVector(points_m), open3d.utility.Vector2iVector(np.array(pairs))
    )
    lines.paint_uniform_color(rgb)
    return lines
