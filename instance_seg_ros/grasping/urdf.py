"""A gripper's sizes from its URDF: the volumes that its links take up, opened, as two fingers and a palm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.errors import InputError

FloatArray = NDArray[np.float64]

_SURFACE_STEP_M = 0.004
"""Between the points that stand for a surface."""
_LARGEST_SHAPE_M = 1.0
"""Nothing of a gripper is larger: a mesh in millimetres would take all memory for its points."""
_TIP_M = 0.01
"""What counts as the fingertips, along the approach."""
_FINGER_GROWS_M = 0.015
"""A finger ends, and the palm begins, where it is so much thicker or wider than at its tip."""
_GAP_TOLERANCE_M = 0.003
_STEP_M = 0.001
_ROUNDING = 0.05
_MOVING = ("revolute", "prismatic", "continuous")


@dataclass(frozen=True)
class _Joint:
    """A joint: pose of the child in the parent at 0, axis in the child's frame, and what drives it."""

    name: str
    kind: str
    parent: str
    child: str
    T_parent_child: FloatArray
    axis: FloatArray
    limits: tuple[float, float]
    mimics: tuple[str, float, float] | None

    def value(self, positions: Mapping[str, float]) -> float:
        """Its position where the driving joints have these."""
        if self.mimics is None:
            return positions.get(self.name, 0.0)
        driver, factor, offset = self.mimics
        return factor * positions.get(driver, 0.0) + offset

    def at(self, value: float) -> FloatArray:
        """(4, 4) pose of the child in the parent."""
        T = np.eye(4)
        if self.kind == "prismatic":
            T[:3, 3] = value * self.axis
        elif self.kind != "fixed":
            T[:3, :3] = _turn(self.axis, value)
        return self.T_parent_child @ T


def sizes_of_urdf(path: Path, approach: str = "z", packages: Mapping[str, Path] | None = None) -> dict[str, float]:
    """The sizes of a parallel-jaw gripper, by the names of `GripperSettings`, from the collision shapes of its links.

    Every joint that drives is put where the fingertips are farthest apart. The fingers reach from their tips back to
    where something lies between them or they become much thicker; all behind that is the palm.

    Args:
        path: a URDF; a xacro is to be expanded before.
        approach: "x", "y" or "z", the axis of the root link that approaches.
        packages: folders of `package://` names; one that is missing is looked for in the folders above the file.

    Raises:
        InputError: the file is none, names shapes that are not there, or has no two fingers.
    """
    root = _read(path)
    if any("xacro" in part.tag for part in root.iter()):
        raise InputError(f"{path} is a xacro; expand it first: xacro {path.name} > gripper.urdf")
    points_m = {link.get("name", ""): _points_of(link, path, packages or {}) for link in root.findall("link")}
    joints = [_joint_of(joint) for joint in root.findall("joint")]
    roots = points_m.keys() - {joint.child for joint in joints}
    if len(roots) != 1 or {joint.parent for joint in joints} - points_m.keys():
        raise InputError(f"{path}: the links are no tree with one root, but have the roots {sorted(roots)}")
    _check_tree(joints, path)
    axis = "xyz".find(approach)
    if axis < 0 or not approach:
        raise InputError(f"the approach is x, y or z, not {approach!r}")
    moved = _moved_links(joints)
    positions: dict[str, float] = {}
    for joint in joints:
        if joint.kind in _MOVING and joint.mimics is None:
            positions[joint.name] = max(
                joint.limits,
                key=lambda value, name=joint.name: _apart_m(  # type: ignore[misc]
                    _placed(points_m, joints, {**positions, name: value}), moved, axis
                ),
            )
    return _sizes(_placed(points_m, joints, positions), moved, axis, path)


def _check_tree(joints: Sequence[_Joint], path: Path) -> None:
    """Refuses joints that close a loop, and links that hang on two of them.

    Raises:
        InputError: naming the links.
    """
    children = [joint.child for joint in joints]
    twice = sorted({child for child in children if children.count(child) > 1})
    if twice:
        raise InputError(f"{path}: the links are no tree: {', '.join(twice)} hangs on more than one joint")
    hanging = set(children)
    for _ in joints:  # with each step those go that hang on what is known to hang on the root
        hanging = {joint.child for joint in joints if joint.parent in hanging}
    if hanging:
        raise InputError(f"{path}: the links are no tree: joints close a loop over {', '.join(sorted(hanging))}")


def _moved_links(joints: Iterable[_Joint]) -> set[str]:
    """The links that a joint moves."""
    moved: set[str] = set()
    for _ in joints:  # at most so many levels
        moved |= {joint.child for joint in joints if joint.kind in _MOVING or joint.parent in moved}
    return moved


def _placed(
    points_m: Mapping[str, FloatArray], joints: Iterable[_Joint], positions: Mapping[str, float]
) -> dict[str, FloatArray]:
    """The points (N, 3) of each link in the root's frame."""
    by_child = {joint.child: joint for joint in joints}

    def pose(link: str) -> FloatArray:
        joint = by_child.get(link)
        return np.eye(4) if joint is None else pose(joint.parent) @ joint.at(joint.value(positions))

    placed = {}
    for link, own_m in points_m.items():
        T = pose(link)
        placed[link] = own_m @ T[:3, :3].T + T[:3, 3]
    return placed


def _split(
    placed_m: Mapping[str, FloatArray], moved: set[str], axis: int
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.int64]]:
    """Points of what moves and of what does not, (N, 3) as closing, across and approach, and of the tips.

    And the number of each tip's link, (K,).
    """
    order = [(axis + 1) % 3, (axis + 2) % 3, axis]
    counts = [len(own) for link, own in placed_m.items() if link in moved]
    moving, still = (
        np.concatenate(
            [np.zeros((0, 3)), *(own[:, order] for link, own in placed_m.items() if (link in moved) is which)]
        )
        for which in (True, False)
    )
    is_tip = moving[:, 2] > moving[:, 2].max(initial=-inf) - _TIP_M
    tips, links = moving[is_tip], np.repeat(np.arange(len(counts)), counts)[is_tip]
    # Fingers close along the axis on whose two sides they are; where both or neither is such, along the longer one.
    first, second = (_is_astride(tips[:, side], links) for side in (0, 1))
    second_is_longer = len(tips) > 2 and np.ptp(tips[:, 0]) < np.ptp(tips[:, 1])
    if first if first != second else second_is_longer:
        moving, still, tips = (points[:, [1, 0, 2]] for points in (moving, still, tips))
    return moving, still, tips, links


def _is_astride(places_m: FloatArray, links: NDArray[np.int64]) -> bool:
    """Whether a link has tips on both sides of the middle."""
    return bool(np.intersect1d(links[places_m < 0], links[places_m > 0]).size)


def _apart_m(placed_m: Mapping[str, FloatArray], moved: set[str], axis: int) -> float:
    """How far the tips are apart: the mean distance from the middle."""
    _, _, tips, _ = _split(placed_m, moved, axis)
    return float(np.abs(tips[:, 0]).mean()) if len(tips) else 0.0


def _sizes(placed_m: Mapping[str, FloatArray], moved: set[str], axis: int, path: Path) -> dict[str, float]:
    moving, still, tips, links = _split(placed_m, moved, axis)
    low, high = tips[tips[:, 0] < 0], tips[tips[:, 0] > 0]
    if not len(low) or not len(high) or _is_astride(tips[:, 0], links):
        raise InputError(f"{path}: there are no two fingers on both sides of the middle; is the approach another axis?")
    inner_m = float(min(-low[:, 0].max(), high[:, 0].min()))
    outer_m, half_m = float(np.abs(tips[:, 0]).max()), float(np.abs(tips[:, 1]).max())
    tip_m, everything = float(moving[:, 2].max()), np.concatenate([moving, still])
    aside_m, across_m = np.abs(everything[:, 0]), np.abs(everything[:, 1])
    in_the_way = (aside_m < inner_m - _GAP_TOLERANCE_M) & (across_m <= half_m)
    too_wide = (aside_m > outer_m + _FINGER_GROWS_M) | (across_m > half_m + _FINGER_GROWS_M)
    knuckle_m = float(everything[in_the_way | too_wide, 2].max(initial=float(everything[:, 2].min())))
    fingers = everything[everything[:, 2] > knuckle_m]
    palm = everything[everything[:, 2] <= knuckle_m]
    if not len(fingers):
        raise InputError(
            f"{path}: the fingers reach no farther along +{'xyz'[axis]} of the root link than the rest; if they "
            "point the other way, hang the gripper on a link that is turned, by a fixed joint"
        )
    # Rounded to whole millimetres, to the side on which a gripper of these sizes is no better than the real one.
    at_most = {"max_opening_m": 2 * inner_m, "finger_length_m": tip_m - knuckle_m}
    at_least = {
        "finger_thickness_m": float(np.abs(fingers[:, 0]).max()) - inner_m,
        "finger_width_m": 2 * float(np.abs(fingers[:, 1]).max()),
        "palm_depth_m": knuckle_m - float(palm[:, 2].min()),
        "palm_width_m": 2 * float(np.abs(palm[:, 0]).max()),
        "palm_height_m": 2 * float(np.abs(palm[:, 1]).max()),
    }
    down = {name: np.floor(value / _STEP_M + _ROUNDING) for name, value in at_most.items()}
    up = {name: np.ceil(value / _STEP_M - _ROUNDING) for name, value in at_least.items()}
    return {name: round(float(steps) * _STEP_M, 6) for name, steps in (down | up).items()}


# Reading ------------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Element:
    """The root of the file, names as they are written: like ROS, this does not mind prefixes that nothing declares."""
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise InputError(f"{path} is no URDF: {error}") from error
    return builder.close()


def _points_of(link: Element, path: Path, packages: Mapping[str, Path]) -> FloatArray:
    """(N, 3) points on the link's collision shapes, its visual ones where it has none, in its frame."""
    shapes = link.findall("collision") or link.findall("visual")
    points = [np.zeros((0, 3))]
    for shape in shapes:
        geometry = shape.find("geometry")
        if geometry is not None:
            T = _pose_of(shape.find("origin"))
            points.append(_surface(geometry, path, packages) @ T[:3, :3].T + T[:3, 3])
    return np.concatenate(points)


def _surface(geometry: Element, path: Path, packages: Mapping[str, Path]) -> FloatArray:
    """(N, 3) points on a shape."""
    import trimesh

    for shape in geometry:
        if shape.tag == "box":
            mesh = trimesh.creation.box(_sides(shape.get("size", "")))
        elif shape.tag == "cylinder":
            mesh = trimesh.creation.cylinder(_length(shape.get("radius", "")), _length(shape.get("length", "")))
        elif shape.tag == "sphere":
            mesh = trimesh.creation.icosphere(radius=_length(shape.get("radius", "")))
        elif shape.tag == "mesh":
            file = _mesh_file(shape.get("filename", ""), path, packages)
            try:
                mesh = trimesh.load(file, force="mesh")
            except Exception as error:  # of trimesh or of any library below it
                raise InputError(f"{path}: the shape {file} cannot be read: {error}") from error
            mesh.apply_scale(_numbers(shape.get("scale", "1 1 1")))
        else:
            continue
        largest_m = float(np.ptp(mesh.vertices, axis=0).max())
        if not largest_m <= _LARGEST_SHAPE_M:
            raise InputError(
                f"{path}: the shape {shape.get('filename', shape.tag)} is {largest_m:g} m large, too much for a "
                'gripper; if it is in millimetres, give it scale="0.001 0.001 0.001"'
            )
        return np.asarray(mesh.subdivide_to_size(_SURFACE_STEP_M, max_iter=20).vertices, dtype=np.float64)
    raise InputError(f"{path}: a link has a shape of an unknown kind: {[shape.tag for shape in geometry]}")


def _mesh_file(name: str, path: Path, packages: Mapping[str, Path]) -> Path:
    if not name.startswith("package://"):
        file = path.parent / name.removeprefix("file://")
        if not file.is_file():
            raise InputError(f"{path} names the shape {name}, which is not there")
        return file
    package, _, rest = name.removeprefix("package://").partition("/")
    folders = [packages[package]] if package in packages else []
    for above in path.resolve().parents:
        folders += [above / package, *([above] if above.name == package else [])]
    for folder in folders:
        if (folder / rest).is_file():
            return folder / rest
    raise InputError(f"{path} names the shape {name}, which is not there; say where: --package {package}=FOLDER")


def _joint_of(joint: Element) -> _Joint:
    axis, limit, mimic = joint.find("axis"), joint.find("limit"), joint.find("mimic")
    lower, upper = (0.0, 0.0) if limit is None else (_number(limit.get(end, "0")) for end in ("lower", "upper"))
    return _Joint(
        name=joint.get("name", ""),
        kind=joint.get("type", "fixed"),
        parent=_link(joint, "parent"),
        child=_link(joint, "child"),
        T_parent_child=_pose_of(joint.find("origin")),
        axis=np.array([1.0, 0.0, 0.0]) if axis is None else _numbers(axis.get("xyz", "1 0 0")),
        limits=(lower, upper),
        mimics=None
        if mimic is None
        else (mimic.get("joint", ""), _number(mimic.get("multiplier", "1")), _number(mimic.get("offset", "0"))),
    )


def _link(joint: Element, role: str) -> str:
    element = joint.find(role)
    return "" if element is None else element.get("link", "")


def _pose_of(origin: Element | None) -> FloatArray:
    """(4, 4) of an <origin>: fixed axes, roll about x, then pitch about y, then yaw about z."""
    T = np.eye(4)
    if origin is not None:
        roll, pitch, yaw = _numbers(origin.get("rpy", "0 0 0"))
        x, y, z = np.eye(3)
        T[:3, :3] = _turn(z, yaw) @ _turn(y, pitch) @ _turn(x, roll)
        T[:3, 3] = _numbers(origin.get("xyz", "0 0 0"))
    return T


def _turn(axis: FloatArray, angle_rad: float) -> FloatArray:
    """(3, 3) rotation by Rodrigues' formula."""
    x, y, z = axis / max(float(np.linalg.norm(axis)), 1e-9)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * cross @ cross


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{text!r} should be a number") from None
    if not np.isfinite(value):
        raise InputError(f"{text!r} should be a finite number")
    return value


def _numbers(text: str) -> FloatArray:
    words = text.split()
    if len(words) != 3:
        raise InputError(f"{text!r} should be three numbers")
    return np.array([_number(word) for word in words])


def _length(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise InputError(f"{text!r} should be a length above 0")
    return value


def _sides(text: str) -> FloatArray:
    sides = _numbers(text)
    if sides.min() <= 0:
        raise InputError(f"{text!r} should be three lengths above 0")
    return sides
