"""Real captures over DDS: every frame is answered with its own stamp and camera."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from instance_seg_ros.files.captures import capture_folders, read_capture

REAL_RGBD = Path(__file__).parents[3] / "shared" / "data" / "real_rgbd"


@pytest.mark.skipif(not REAL_RGBD.is_dir(), reason="the real captures are not beside the project")
def test_every_real_capture_is_answered_with_its_stamp_and_camera(make_stage: Any) -> None:
    stage = make_stage(input_reliability="reliable")
    stage.start()
    folders = capture_folders(REAL_RGBD)

    for folder in folders:
        frame = replace(read_capture(folder).frame, frame_id="camera_color_optical_frame")
        answer = stage.answer_to(stage.send_frame(frame))
        assert answer.status == answer.STATUS_OK
        assert (answer.image_width, answer.image_height) == (frame.intrinsics.width, frame.intrinsics.height)
        assert answer.fx == pytest.approx(frame.intrinsics.fx)

    assert len(folders) == len(stage.probe.answers) == 27
