"""Sizes of grippers from URDFs: drawn ones of boxes, whose sizes are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.grasping.urdf import sizes_of_urdf

trimesh = pytest.importorskip("trimesh")


def box(size: str, xyz: str) -> str:
    return f'<collision><origin xyz="{xyz}"/><geometry><box size="{size}"/></geometry></collision>'


def joint(name: str, child: str, more: str, kind: str = "prismatic", origin: str = '<origin xyz="0 0 0.1"/>') -> str:
    return (
        f'<joint name="{name}" type="{kind}"><parent link="hand"/><child link="{child}"/>{origin}'
        f'<axis xyz="0 1 0"/>{more}</joint>'
    )


HAND = f'<link name="hand">{box("0.06 0.2 0.1", "0 0 0.05")}</link>'
FINGER = box("0.02 0.01 0.05", "0 0.005 0.025")
FINGERS = f'<link name="left">{FINGER}</link><link name="right">{FINGER}</link>'
OPEN = '<limit lower="0" upper="0.04"/>'
LEFT = joint("left_joint", "left", OPEN)
TURNED = '<origin xyz="0 0 0.1" rpy="0 0 3.14159265"/>'
RIGHT = joint("right_joint", "right", OPEN + '<mimic joint="left_joint"/>', origin=TURNED)
SIZES = {
    "max_opening_m": 0.08,
    "finger_thickness_m": 0.01,
    "finger_width_m": 0.02,
    "finger_length_m": 0.05,
    "palm_depth_m": 0.1,
    "palm_width_m": 0.2,
    "palm_height_m": 0.06,
}


def sizes(tmp_path: Path, content: str, approach: str = "z") -> dict[str, float]:
    path = tmp_path / "gripper.urdf"
    path.write_text(f'<robot name="gripper">{content}</robot>')
    return sizes_of_urdf(path, approach)


@pytest.mark.parametrize(
    ("content", "changed"),
    [
        pytest.param(HAND + FINGERS + LEFT + RIGHT, {}, id="one joint follows the other"),
        pytest.param(
            HAND + FINGERS + LEFT + joint("right_joint", "right", OPEN, origin=TURNED), {}, id="two joints that drive"
        ),
        pytest.param(
            HAND
            + FINGERS.replace(f'"right">{FINGER}', f'"right">{box("0.02 0.01 0.05", "0 -0.005 0.025")}')
            + LEFT
            + joint("right_joint", "right", OPEN + '<mimic joint="left_joint" multiplier="-0.75" offset="-0.01"/>'),
            {},
            id="one joint follows the other by a factor and an offset",
        ),
        pytest.param(
            HAND
            + FINGERS
            + joint("left_joint", "left", '<limit lower="-0.04" upper="0"/>')
            + joint("right_joint", "right", '<limit lower="0" upper="0.04"/>'),
            {
                "max_opening_m": 0.06,
                "finger_thickness_m": 0.02,
            },  # not in the middle: the nearer inner, the farther outer
            id="open at the lower limit, beside the middle",
        ),
        pytest.param(
            HAND.replace("</link>", box("0.02 0.02 0.02", "0 0 0.11") + "</link>") + FINGERS + LEFT + RIGHT,
            {"finger_length_m": 0.03, "palm_depth_m": 0.12},
            id="something between the fingers ends them",
        ),
        pytest.param(
            HAND + FINGERS.replace(FINGER, FINGER + box("0.02 0.03 0.02", "0 0.015 0.01")) + LEFT + RIGHT,
            {"finger_length_m": 0.03, "palm_depth_m": 0.12},
            id="a knuckle 20 mm thicker belongs to the palm",
        ),
        pytest.param(
            HAND + FINGERS.replace(FINGER, FINGER + box("0.02 0.02 0.02", "0 0.01 0.01")) + LEFT + RIGHT,
            {"finger_thickness_m": 0.02},
            id="one 10 mm thicker to the finger",
        ),
        pytest.param(
            HAND + FINGERS.replace("0.02 0.01 0.05", "0.12 0.01 0.05") + LEFT + RIGHT,
            {"finger_width_m": 0.12, "palm_height_m": 0.12},
            id="fingers wider than they open",
        ),
        pytest.param(
            HAND + FINGERS + LEFT + RIGHT + '<drake:group name="a"><drake:member/></drake:group>',
            {},
            id="tags of others, whose prefix nothing declares",
        ),
    ],
)
def test_sizes_are_those_of_the_opened_gripper(tmp_path: Path, content: str, changed: dict[str, float]) -> None:
    assert sizes(tmp_path, content) == pytest.approx(SIZES | changed)


@pytest.mark.parametrize(
    ("size", "rpy"),
    [
        # About the fixed x, then y, then z: which of its sides comes to lie along x, y and z.
        ("0.01 0.05 0.02", "1.5707963 0 1.5707963"),
        ("0.05 0.02 0.01", "1.5707963 1.5707963 0"),
        ("0.05 0.02 0.01", "0 1.5707963 1.5707963"),
    ],
)
def test_a_part_is_turned_by_roll_then_pitch_then_yaw(tmp_path: Path, size: str, rpy: str) -> None:
    turned = box(size, "0 0.005 0.025").replace("<origin", f'<origin rpy="{rpy}"')
    assert sizes(tmp_path, HAND + FINGERS.replace(FINGER, turned) + LEFT + RIGHT) == pytest.approx(SIZES, abs=1e-6)


def mounted(rpy: str) -> str:
    return (
        '<link name="mount"/><joint name="mounted" type="fixed"><parent link="mount"/><child link="hand"/>'
        f'<origin xyz="0 0 0" rpy="{rpy}"/></joint>{HAND}{FINGERS}{LEFT}{RIGHT}'
    )


@pytest.mark.parametrize(("rpy", "approach"), [("-1.5707963 0 0", "y"), ("0 1.5707963 0", "x"), ("0 0 1.5707963", "z")])
def test_a_hand_on_a_mount_approaches_along_an_axis_of_that(tmp_path: Path, rpy: str, approach: str) -> None:
    assert sizes(tmp_path, mounted(rpy), approach) == pytest.approx(SIZES, abs=1e-6)


@pytest.mark.parametrize(("rpy", "approach"), [("1.5707963 0 0", "y"), ("0 -1.5707963 0", "x"), ("0 3.1415927 0", "z")])
def test_a_hand_that_points_backwards_is_told_with_the_cure(tmp_path: Path, rpy: str, approach: str) -> None:
    with pytest.raises(
        InputError, match=rf"no farther along \+{approach} of the root link .* on a link that is turned"
    ):
        sizes(tmp_path, mounted(rpy), approach)


def test_a_mesh_of_a_package_is_found_above_the_file_and_scaled(tmp_path: Path) -> None:
    folder = tmp_path / "hand_description"
    (folder / "urdf").mkdir(parents=True)
    trimesh.creation.box((60, 200, 100)).export(folder / "hand.stl")
    mesh = '<mesh filename="package://hand_description/hand.stl" scale="0.001 0.001 0.001"/>'
    hand = HAND.replace('<box size="0.06 0.2 0.1"/>', mesh)
    assert sizes(folder / "urdf", hand + FINGERS + LEFT + RIGHT) == pytest.approx(SIZES)


LOOP = """
<link name="ring_a"/><link name="ring_b"/>
<joint name="a_b" type="fixed"><parent link="ring_a"/><child link="ring_b"/></joint>
<joint name="b_a" type="fixed"><parent link="ring_b"/><child link="ring_a"/></joint>"""
SECOND_PARENT = '<joint name="other" type="fixed"><parent link="right"/><child link="left"/></joint>'


@pytest.mark.parametrize(
    ("content", "approach", "words"),
    [
        (HAND + FINGERS + LEFT, "z", "no tree with one root"),
        (HAND.replace("box size", "mesh filename") + FINGERS + LEFT + RIGHT, "z", "which is not there"),
        (HAND + '<link name="left"/>' + LEFT, "z", "no two fingers"),
        (HAND + f'<link name="left">{FINGER}</link>' + LEFT, "z", "no two fingers"),
        (HAND.replace("0.06 0.2 0.1", "0.06 200 0.1") + FINGERS + LEFT + RIGHT, "z", "is 200 m large, too much for a"),
        (HAND + FINGERS + LEFT + RIGHT, "up", "the approach is x, y or z"),
        (HAND + FINGERS.replace("0.02 0.01 0.05", "0.02 0.01") + LEFT + RIGHT, "z", "should be three numbers"),
        (HAND + FINGERS + LEFT.replace("0.04", "x") + RIGHT, "z", "'x' should be a number"),
        (HAND.replace('box size="0.06 0.2 0.1"', "sphere") + FINGERS + LEFT + RIGHT, "z", "'' should be a number"),
        (HAND + FINGERS + LEFT.replace("0.04", "inf") + RIGHT, "z", "'inf' should be a finite number"),
        (
            HAND + FINGERS.replace("0.02 0.01 0.05", "0.02 nan 0.05") + LEFT + RIGHT,
            "z",
            "'nan' should be a finite number",
        ),
        (HAND + FINGERS.replace("0.02 0.01 0.05", "0.02 0 0.05") + LEFT + RIGHT, "z", "three lengths above 0"),
        (
            HAND.replace('box size="0.06 0.2 0.1"', 'sphere radius="-0.1"') + FINGERS + LEFT + RIGHT,
            "z",
            "'-0.1' should be a length above 0",
        ),
        (HAND.replace('box size="0.06 0.2 0.1"', 'mesh filename="gripper.urdf"') + FINGERS, "z", "cannot be read"),
        (HAND + "<link", "z", "is no URDF"),
        (HAND + FINGERS + LEFT + RIGHT + LOOP, "z", "joints close a loop over ring_a, ring_b"),
        (HAND + FINGERS + LEFT + RIGHT + SECOND_PARENT, "z", "left hangs on more than one joint"),
        ('<xacro:include xmlns:xacro="http://ros.org/wiki/xacro"/>' + HAND, "z", "is a xacro; expand it first"),
        ("<xacro:include/>" + HAND, "z", "is a xacro; expand it first"),
    ],
)
def test_what_is_no_gripper_is_told(tmp_path: Path, content: str, approach: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        sizes(tmp_path, content, approach)
