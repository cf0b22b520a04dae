"""`instance-seg bench`: the table's arithmetic, and runs of the real pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from instance_seg_ros import cli
from instance_seg_ros.camera import RgbdFrame
from instance_seg_ros.commands.bench import stage_rows
from instance_seg_ros.storage.captures import write_capture


def test_stage_rows_are_medians_percentiles_and_shares_of_the_total() -> None:
    times_s = [{"segment": 0.010, "lift": 0.030}, {"segment": 0.020, "lift": 0.020}, {"segment": 0.030, "lift": 0.030}]
    assert stage_rows(times_s) == [
        ("segment", "20.0", "29.0", "50"),
        ("lift", "30.0", "30.0", "75"),
        ("total", "40.0", "58.0", "100"),
    ]


def test_captures_are_measured_over_and_over(
    tmp_path: Path, make_frame: Callable[..., RgbdFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    write_capture(tmp_path / "capture", make_frame())
    assert cli.main(["bench", "--capture", str(tmp_path), "--frames", "3", "--warm-up", "1"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[2:7]] == ["segment", "lift", "grasp", "track", "total"]
    assert "3 frames of" in out


def test_simulated_frames_have_the_size_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--size", "160x120", "--frames", "1", "--warm-up", "0"]) == 0
    assert "1 frames of 160x120" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "0"], "--frames must be at least 1"),
        (["--warm-up", "-1"], "--warm-up at least 0"),
        (["--size", "wide"], "--size must look like 640x480"),
        (["--capture", "absent"], "absent"),
    ],
)
def test_options_that_cannot_be_are_named(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", *options]) == 2
    assert message in capsys.readouterr().err
