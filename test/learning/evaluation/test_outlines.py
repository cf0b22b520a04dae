from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.files.captures import write_capture
from instance_seg_ros.learning.evaluation import outlines
from instance_seg_ros.learning.evaluation.outlines import edge_strength, frame_outlines, main, moved, shift_onto_edges


def rectangle(left: int, top: int) -> np.ndarray:
    mask = np.zeros((60, 80), dtype=bool)
    mask[top : top + 20, left : left + 30] = True
    return mask


def picture(mask: np.ndarray) -> np.ndarray:
    """Red where the mask is, on gray."""
    return np.where(mask[..., None], (200, 30, 30), (90, 90, 90)).astype(np.uint8)


OBJECT = rectangle(20, 15)
PICTURE = picture(OBJECT)


def test_edges_are_where_the_colour_changes() -> None:
    strength = edge_strength(PICTURE)
    assert strength.shape == (60, 80)
    assert strength[25, 19:21].min() > 10
    assert strength[25, 35] == strength[5, 5] == 0
    assert not edge_strength(np.full((60, 80, 3), 77, dtype=np.uint8)).any()


@pytest.mark.parametrize("x_px", [-3, 0, 2])
@pytest.mark.parametrize("y_px", [0, 4])
def test_a_label_beside_its_object_is_moved_back(x_px: int, y_px: int) -> None:
    label = moved(OBJECT, x_px, y_px)
    assert np.array_equal(label, rectangle(20 + x_px, 15 + y_px))
    x_back, y_back = shift_onto_edges(label, edge_strength(PICTURE))
    assert abs(x_back + x_px) <= 1 and abs(y_back + y_px) <= 1  # the edge lies between two pixels


def test_without_an_edge_nothing_moves() -> None:
    assert shift_onto_edges(OBJECT, np.zeros((60, 80), dtype=np.float32)) == (0, 0)


def test_a_mask_moved_out_of_the_image_leaves_nothing_behind() -> None:
    assert not moved(OBJECT, 70, 0).any()


def test_a_mask_on_the_edges_beats_a_label_beside_them() -> None:
    found = frame_outlines(PICTURE, rectangle(23, 15)[None], OBJECT[None])
    assert found.mask_edges[0] > 1.5 * found.label_edges[0]
    assert -4 <= found.shifts_xy[0][0] <= -2
    assert found.moved_boundary_f > 0.95 > found.boundary_f


def test_objects_that_were_not_found_count_in_the_boundary_alone() -> None:
    found = frame_outlines(PICTURE, OBJECT[None], np.zeros((0, 60, 80), dtype=bool))
    assert (found.label_edges, found.mask_edges, found.shifts_xy, found.boundary_f) == ((), (), (), 0.0)


def test_a_frame_without_objects_has_nothing_to_compare() -> None:
    found = frame_outlines(PICTURE, np.zeros((0, 60, 80), dtype=bool), OBJECT[None])
    assert (found.label_edges, found.shifts_xy, found.moved_boundary_f) == ((), (), 0.0)


def test_the_command_prints_a_row_for_each_group(
    tmp_path: Path, block_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = Intrinsics(80, 60, 70.0, 70.0, 39.5, 29.5)
    for name in ("can_1", "can_2", "tin_1"):
        write_capture(
            tmp_path / name, RgbdFrame(PICTURE, np.full((60, 80), 0.7, np.float32), camera), OBJECT.astype(np.uint16)
        )
    main([str(tmp_path), "--model", str(block_model_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "group"
    assert [line.split()[0] for line in lines[2:]] == ["can", "tin"]


def test_captures_without_colour_are_refused(tmp_path: Path, block_model_path: Path) -> None:
    camera = Intrinsics(80, 60, 70.0, 70.0, 39.5, 29.5)
    frame = RgbdFrame(None, np.full((60, 80), 0.7, np.float32), camera)
    write_capture(tmp_path / "dark", frame, OBJECT.astype(np.uint16))
    with pytest.raises(SystemExit, match="dark has no colour"):
        main([str(tmp_path), "--model", str(block_model_path)])
    with pytest.raises(SystemExit, match="error: "):
        outlines.main([str(tmp_path / "absent")])
