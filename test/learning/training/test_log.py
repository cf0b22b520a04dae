from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from instance_seg_ros.learning.datasets.training_samples import Batch
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.training.log import LOG_NAME, TENSORBOARD_NAME, TrainingLog
from instance_seg_ros.learning.training.pictures import prediction_picture


def steps(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / LOG_NAME).read_text().splitlines()]


def write(folder: Path, first: int, last: int) -> None:
    with TrainingLog(folder, first - 1) as log:
        for step in range(first, last + 1):
            log.write(step, 0.5 * step, {"total": 1 / step})


def test_a_resumed_log_goes_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    write(tmp_path, 1, 5)
    write(tmp_path, 4, 6)
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6]
    record = json.loads((tmp_path / LOG_NAME).read_text().splitlines()[2])
    assert record == {"step": 3, "elapsed_s": 1.5, "total": 0.33333}


@pytest.mark.parametrize("rest", [b'{"step": 6, "elap', b"\0" * 40 + b"\n", b"\xff\n"])
def test_a_line_that_was_cut_short_does_not_end_a_training(tmp_path: Path, rest: bytes) -> None:
    write(tmp_path, 1, 5)
    with (tmp_path / LOG_NAME).open("ab") as file:
        file.write(rest)
    write(tmp_path, 6, 7)
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6, 7]


def test_without_tensorboard_the_log_is_written_and_the_cure_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    write(tmp_path, 1, 2)
    assert steps(tmp_path) == [1, 2]
    assert not (tmp_path / TENSORBOARD_NAME).exists()
    assert "pip install tensorboard" in capsys.readouterr().out


def test_tensorboard_shows_losses_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write(tmp_path, 1, 5)
    with TrainingLog(tmp_path, 3) as log:  # killed behind step 3
        assert log.shows_pictures
        log.write(4, 2.0, {"total": 9.0})
        log.show(4, np.full((8, 12, 3), 50, dtype=np.uint8))
    events = EventAccumulator(str(tmp_path / TENSORBOARD_NAME))
    events.Reload()
    assert [(event.step, round(event.value, 3)) for event in events.Scalars("total")] == [
        (1, 1.0),
        (2, 0.5),
        (3, 0.333),
        (4, 9.0),
    ]
    assert [(image.width, image.height) for image in events.Images("predictions")] == [(12, 8)]


@pytest.mark.parametrize("colored", [True, False])
def test_predictions_are_painted_over_colour_or_depth(small_config: CondInstConfig, colored: bool) -> None:
    torch.manual_seed(0)
    model = CondInst(small_config).eval()
    with torch.no_grad():
        model.head.class_logits.bias.fill_(5.0)  # everything is an object
        model.controller.bias[-1] = 5.0  # of all pixels
    color = torch.full((3, 3, 96, 128), 90 * colored, dtype=torch.uint8)
    batch = Batch(
        depth_m=torch.full((3, 1, 96, 128), 0.8),
        intrinsics=torch.tensor([[110.0, 110.0, 63.5, 47.5]]).expand(3, -1),
        ids=torch.zeros(3, 96, 128, dtype=torch.uint8),
        boxes_xyxy=[],
        anchors_xy=torch.zeros(1, 0, 2),
        class_ids=[],
        color_rgb=color,
    )
    picture = prediction_picture(model, batch, count=2)
    assert picture.shape == (96, 256, 3)
    assert picture.dtype == np.uint8
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1
