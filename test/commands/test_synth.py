import argparse
import shutil
import subprocess

import cv2
import pytest

from instance_seg_ros.commands import synth
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.learning.synthetic.store import open_store


@pytest.fixture
def run():
    parser = argparse.ArgumentParser()
    synth.add_arguments(parser)
    return lambda *words: synth.run(parser.parse_args([str(word) for word in words]))


def test_synth_writes_a_store(run, tmp_path):
    options = ("--frames", 3, "--views", 2, "--width", 80, "--height", 60, "--max-objects", 3, "--workers", 1)
    assert run("--out", tmp_path / "store", *options) == 0
    assert len(open_store(tmp_path / "store")) == 3


@pytest.mark.skipif(shutil.which("instance-seg") is None, reason="the command is not installed")
def test_the_installed_command_generates_in_several_processes(tmp_path):
    options = ("--frames", 2, "--views", 1, "--width", 64, "--height", 48, "--max-objects", 1, "--workers", 2)
    command = ["instance-seg", "synth", "--out", tmp_path / "store", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(open_store(tmp_path / "store")) == 2


def test_synth_writes_a_contact_sheet(run, tmp_path):
    assert run("--preview", tmp_path / "sheet.png", "--width", 80, "--height", 60, "--max-objects", 3) == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (6 * 62, 2 * 4 * 82, 3)
    assert sheet.std() > 20


def test_another_store_in_the_folder_is_an_input_error(run, tmp_path):
    options = ("--views", 1, "--width", 64, "--height", 48, "--max-objects", 0, "--workers", 1, "--out", tmp_path)
    assert run(*options, "--frames", 1) == 0
    with pytest.raises(InputError, match=r"other settings \(frames\); choose another folder"):
        run(*options, "--frames", 2)


def test_a_preview_of_unknown_kind_is_an_input_error(run, tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*sheet\.xyz: use a name that ends with \.png or \.jpg"):
        run("--preview", tmp_path / "sheet.xyz")
