"""`instance-seg gripper`: the list, and files that presets take."""

from __future__ import annotations

from pathlib import Path

import pytest

from instance_seg_ros.commands.main import main
from instance_seg_ros.core.parameters import GripperSettings

FINGER = '<collision><origin xyz="0 {} 0.075"/><geometry><box size="0.02 0.01 0.05"/></geometry></collision>'
URDF = f"""<robot name="g">
<link name="hand"><collision><geometry><box size="0.06 0.2 0.1"/></geometry></collision></link>
<link name="left">{FINGER.format(0.045)}</link><link name="right">{FINGER.format(-0.045)}</link>
<joint name="l" type="prismatic"><parent link="hand"/><child link="left"/><axis xyz="0 1 0"/>
<limit lower="-0.04" upper="0"/></joint>
<joint name="r" type="prismatic"><parent link="hand"/><child link="right"/><axis xyz="0 -1 0"/>
<limit lower="-0.04" upper="0"/></joint>
</robot>"""


def test_the_list_names_every_preset_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gripper"]) == 0
    text = capsys.readouterr().out
    assert "robotiq_2f_85     85 mm" in text
    assert text.splitlines()[0].split()[-2:] == ["force", "pad"]
    assert "onrobot_rg2: OnRobot RG2. Sizes by" in text


def test_an_imported_gripper_is_a_preset(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    (tmp_path / "mine.urdf").write_text(URDF)
    assert main(["gripper", "--import", str(tmp_path / "mine.urdf"), "--out", str(tmp_path / "mine.yaml")]) == 0
    settings = GripperSettings(preset=str(tmp_path / "mine.yaml"))
    assert (settings.max_opening_m, settings.finger_length_m, settings.palm_width_m) == (0.08, 0.05, 0.2)


@pytest.mark.parametrize(
    ("hand", "words"),
    [
        ('<collision><geometry><box size="60 200 100"/>', "the shape box is 200 m large, too much for a gripper"),
        (
            '<collision><origin xyz="0 0.45 0"/><geometry><box size="0.06 0.2 0.1"/>',
            "palm_width_m must be above 0 and at most 1, not 1.1",
        ),
    ],
)
def test_a_gripper_of_impossible_size_is_told(
    hand: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trimesh")
    urdf = URDF.replace('<collision><geometry><box size="0.06 0.2 0.1"/>', hand)
    (tmp_path / "mine.urdf").write_text(urdf)
    assert main(["gripper", "--import", str(tmp_path / "mine.urdf"), "--out", str(tmp_path / "mine.yaml")]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--import", "mine.urdf"], "--import needs --out FILE.yaml"),
        (["--import", "mine.urdf", "--out", "mine.txt"], "--import needs --out FILE.yaml"),
        (["--import", "none.urdf", "--out", "x.yaml"], "none.urdf: No such file"),
        (["--import", "none.urdf", "--out", "x.yaml", "--package", "shapes"], "NAME=FOLDER, not 'shapes'"),
        (["--out", "mine.yaml"], "are for --import URDF"),
        (["--package", "shapes=shapes"], "are for --import URDF"),
    ],
)
def test_what_cannot_be_imported_is_told(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gripper", *options]) == 2
    assert words in capsys.readouterr().err
