from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.files.captures import CaptureError, capture_folders, read_capture, read_files, write_capture

META = {"fx": 100.0, "fy": 101.0, "cx": 1.5, "cy": 1.0, "depth_unit_m": 0.0001}


def write_png(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A capture of 4x3 pixels."""
    capture = tmp_path / "capture"
    capture.mkdir()
    write_png(capture / "color.png", np.full((3, 4, 3), (1, 2, 3), dtype=np.uint8))
    write_png(capture / "depth.png", np.arange(12, dtype=np.uint16).reshape(3, 4) * 1000)
    write_png(capture / "labels.png", np.eye(3, 4, dtype=np.uint16) * 300)
    (capture / "meta.json").write_text(json.dumps(META))
    return capture


def test_reads_colour_as_rgb_and_depth_as_metres(folder: Path) -> None:
    capture = read_capture(folder)
    assert capture.name == "capture"
    assert capture.frame.color_rgb is not None
    assert capture.frame.color_rgb[0, 0].tolist() == [3, 2, 1]
    np.testing.assert_allclose(capture.frame.depth_m[0], [0, 0.1, 0.2, 0.3], rtol=1e-6)
    assert capture.frame.intrinsics.fx_fy_cx_cy.tolist() == [100, 101, 1.5, 1]
    assert capture.labels is not None
    assert capture.labels.dtype == np.uint16
    assert capture.labels.max() == 300


def test_colour_and_labels_may_be_absent(folder: Path) -> None:
    (folder / "color.png").unlink()
    (folder / "labels.png").unlink()
    capture = read_capture(folder)
    assert capture.frame.color_rgb is None
    assert capture.labels is None


def test_a_capture_replaces_all_of_the_one_before(tmp_path: Path, make_frame: Callable[..., RgbdFrame]) -> None:
    frame = make_frame()
    write_capture(tmp_path, frame, np.ones(frame.depth_m.shape, dtype=np.uint16))
    write_capture(tmp_path, RgbdFrame(None, frame.depth_m, frame.intrinsics))
    capture = read_capture(tmp_path)
    assert capture.frame.color_rgb is None
    assert capture.labels is None


def test_16_bit_depth_without_a_unit_is_millimetres(folder: Path) -> None:
    (folder / "meta.json").write_text(json.dumps({key: META[key] for key in ("fx", "fy", "cx", "cy")}))
    assert read_capture(folder).frame.depth_m[0, 1] == pytest.approx(1.0)


def test_millimetres_where_metres_are_said_are_named_with_the_file(folder: Path) -> None:
    (folder / "depth.png").unlink()
    np.save(folder / "depth.npy", np.full((9, 9), 812, dtype=np.float32))
    with pytest.raises(CaptureError, match=r"depth\.npy: .* are they millimetres\?"):
        read_capture(folder)


def test_npy_depth_is_metres_whatever_unit_is_named(folder: Path) -> None:
    (folder / "depth.png").unlink()
    np.save(folder / "depth.npy", np.full((3, 4), [0.5, np.nan, -1, 2], dtype=np.float64))
    frame = read_capture(folder).frame
    assert frame.depth_m.dtype == np.float32
    assert frame.depth_m[0].tolist() == [0.5, 0, 0, 2]


def test_tiff_depth_is_read(folder: Path) -> None:
    (folder / "depth.png").unlink()
    write_png(folder / "depth.tiff", np.full((3, 4), 5000, dtype=np.uint16))
    assert read_capture(folder).frame.depth_m[2, 3] == pytest.approx(0.5)


def test_single_files_are_read(folder: Path) -> None:
    capture = read_files(None, folder / "depth.png", folder / "meta.json")
    assert (capture.name, capture.frame.color_rgb, capture.labels) == ("depth.png", None, None)


def break_depth_size(folder: Path) -> None:
    write_png(folder / "depth.png", np.ones((2, 4), dtype=np.uint16))


def cut_short(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 3])

    return cut


def set_meta(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "meta.json").write_text(json.dumps({**META, **changes}))

    return change


def write_text(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        pytest.param(break_depth_size, r"color.png is 4x3 but .*depth.png is 4x2", id="sizes differ"),
        pytest.param(cut_short("depth.png"), r"depth.png cannot be decoded", id="depth cut short"),
        pytest.param(cut_short("color.png"), r"color.png cannot be decoded", id="colour cut short"),
        pytest.param(write_text("color.png", ""), r"color.png cannot be decoded", id="empty colour"),
        pytest.param(
            lambda folder: write_png(folder / "depth.png", np.ones((3, 4), np.uint8)),
            r"depth.png has pixels of type uint8; depth must be a 16-bit image",
            id="8-bit depth",
        ),
        pytest.param(
            lambda folder: write_png(folder / "depth.png", np.ones((3, 4, 3), np.uint16)),
            r"depth.png must have one channel",
            id="depth in colour",
        ),
        pytest.param(set_meta(depth_unit_m=0), r"meta.json: depth_unit_m must be above 0", id="unit 0"),
        pytest.param(set_meta(depth_unit_m="mm"), r"depth_unit_m must be a number, not 'mm'", id="unit a word"),
        pytest.param(set_meta(fx=0), r"meta.json: focal lengths must be positive", id="fx 0"),
        pytest.param(set_meta(fx=10.0), r"meta.json: fx 10 and fy 101 must be nearly equal", id="fx of another camera"),
        pytest.param(set_meta(fx=10**400), r"fx must be a number, not 1000", id="fx beyond all floats"),
        pytest.param(set_meta(cx=float("nan")), r"cx must be a number, not nan", id="cx NaN"),
        pytest.param(set_meta(fx=None), r"fx must be a number, not None", id="fx null"),
        pytest.param(set_meta(width=640, height=480), r"meta.json names 640x480 but .* is 4x3", id="another size"),
        pytest.param(
            write_text("meta.json", '{"fx": 1, "fy": 1}'),
            r"meta.json lacks cx, cy; write .*depth_unit_m",
            id="missing keys",
        ),
        pytest.param(write_text("meta.json", "{"), r"meta.json is not valid JSON: .*; write ", id="broken JSON"),
        pytest.param(write_text("meta.json", "[1]"), r"meta.json holds no JSON object; write ", id="a list"),
        pytest.param(lambda folder: (folder / "depth.png").unlink(), r"holds no depth.png", id="no depth"),
    ],
)
def test_errors_name_the_file_and_the_cause(folder: Path, damage: Callable[[Path], None], cause: str) -> None:
    damage(folder)
    with pytest.raises(CaptureError, match=cause):
        read_capture(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(CaptureError, match="nowhere.png does not exist"):
        read_files(folder / "nowhere.png", folder / "depth.png", folder / "meta.json")


def test_folders_come_sorted_and_others_are_passed_over(tmp_path: Path, make_frame: Callable[..., RgbdFrame]) -> None:
    for name in ("b", "a", "c"):
        write_capture(tmp_path / name, make_frame())
    (tmp_path / "notes").mkdir()
    assert [folder.name for folder in capture_folders(tmp_path)] == ["a", "b", "c"]
    assert capture_folders(tmp_path / "b") == [tmp_path / "b"]


def test_a_capture_has_the_name_by_which_it_was_given(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).symlink_to(folder)
    assert [read_capture(tmp_path / name).name for name in ("first", "second")] == ["first", "second"]
    monkeypatch.chdir(folder)
    assert read_capture(Path()).name == "capture"


@pytest.mark.parametrize(("name", "cause"), [("empty", "holds no capture"), ("absent", "is not a folder")])
def test_a_folder_without_captures_is_an_error(tmp_path: Path, name: str, cause: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaptureError, match=cause):
        capture_folders(tmp_path / name)


@pytest.mark.parametrize("color", [True, False])
def test_what_is_written_is_read_back(tmp_path: Path, make_frame: Callable[..., RgbdFrame], color: bool) -> None:
    frame = make_frame(color)
    labels = (frame.depth_m > 0.75).astype(np.uint16)
    write_capture(tmp_path / "one", frame, labels, depth_unit_m=0.0001, extra={"note": "made by a test"})
    capture = read_capture(tmp_path / "one")
    np.testing.assert_allclose(capture.frame.depth_m, frame.depth_m, atol=0.00005)
    assert (capture.frame.color_rgb is None) == (not color)
    if frame.color_rgb is not None:
        assert np.array_equal(capture.frame.color_rgb, frame.color_rgb)
    assert capture.labels is not None
    assert np.array_equal(capture.labels, labels)
    assert capture.frame.stamp_ns == frame.stamp_ns
    assert capture.frame.intrinsics == frame.intrinsics
    assert json.loads((tmp_path / "one" / "meta.json").read_text())["note"] == "made by a test"


def test_depth_beyond_16_bits_is_written_as_no_measurement(
    tmp_path: Path, make_frame: Callable[..., RgbdFrame]
) -> None:
    write_capture(tmp_path / "one", make_frame(), depth_unit_m=0.00001)  # 65535 units are 0.655 m, all is farther
    assert not read_capture(tmp_path / "one").frame.depth_m.any()


@pytest.mark.parametrize("name", ["color.jpg", "color.jpeg", "rgb.png", "rgb.jpg", "rgb.jpeg"])
def test_colour_is_read_under_its_other_names(make_frame: Callable[..., RgbdFrame], tmp_path: Path, name: str) -> None:
    frame = make_frame()
    write_capture(tmp_path, frame)
    pixels = cv2.imread(str(tmp_path / "color.png"))
    (tmp_path / "color.png").unlink()
    cv2.imwrite(str(tmp_path / name), pixels)
    color_rgb = read_capture(tmp_path).frame.color_rgb
    assert color_rgb is not None
    assert color_rgb[60, 40].tolist() == pytest.approx([200, 40, 40], abs=8)
    write_capture(tmp_path, make_frame(color=False))
    assert read_capture(tmp_path).frame.color_rgb is None


@pytest.mark.parametrize("orientation", [3, 6])
def test_colour_is_read_as_the_sensor_saw_it_like_depth_whatever_its_orientation_tag(
    make_frame: Callable[..., RgbdFrame], tmp_path: Path, orientation: int
) -> None:
    frame = make_frame()
    write_capture(tmp_path, frame)
    (tmp_path / "color.png").unlink()
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(frame.color_rgb).save(tmp_path / "color.jpg", exif=tags)
    color_rgb = read_capture(tmp_path).frame.color_rgb
    assert color_rgb is not None
    assert color_rgb[60, 40].tolist() == pytest.approx([200, 40, 40], abs=8)


def test_two_colour_images_are_refused(make_frame: Callable[..., RgbdFrame], tmp_path: Path) -> None:
    write_capture(tmp_path, make_frame())
    (tmp_path / "rgb.png").write_bytes((tmp_path / "color.png").read_bytes())
    with pytest.raises(CaptureError, match="holds color.png and rgb.png; keep the one that is meant"):
        read_capture(tmp_path)


@pytest.mark.parametrize(
    ("cx", "cy", "such"),
    [(320.0, 240.0, ", such as 640x480"), (40.0, 30.0, ""), (59.5, 79.5, ", such as 120x160")],
    ids=["of a larger one", "of a smaller one", "turned"],
)
def test_intrinsics_of_another_resolution_are_refused_unless_the_size_is_named(
    make_frame: Callable[..., RgbdFrame], tmp_path: Path, cx: float, cy: float, such: str
) -> None:
    write_capture(tmp_path, make_frame())
    meta = json.loads((tmp_path / "meta.json").read_text()) | {"cx": cx, "cy": cy}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    assert read_capture(tmp_path).frame.intrinsics.cx == cx
    del meta["width"], meta["height"]
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(CaptureError, match=rf"far from the middle of 160x120; are they of another resolution{such}\?"):
        read_capture(tmp_path)
