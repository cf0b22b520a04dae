from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.learning.synthetic.store import PARTS, SynthSettings, generate_store, open_store

SMALL = SynthSettings(frames=22, views=4, width=80, height=60, seed=3, max_objects=4, color=True)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_store(SMALL, tmp_path_factory.mktemp("store") / "one", workers=1, progress=False)


def test_a_store_has_the_promised_arrays(store_folder: Path) -> None:
    store = open_store(store_folder)
    assert len(store) == 22
    assert (store.depth.shape, store.depth.dtype) == ((22, 60, 80), np.uint16)
    assert (store.ids.shape, store.ids.dtype) == ((22, 60, 80), np.uint8)
    assert (store.intrinsics.shape, store.intrinsics.dtype) == ((22, 4), np.float32)
    assert (store.T_world_camera.shape, store.T_world_camera.dtype) == ((22, 4, 4), np.float32)
    assert store.color is not None
    assert (store.color.shape, store.color.dtype) == ((22, 60, 80, 3), np.uint8)
    np.testing.assert_array_equal(store.scene_id, np.arange(22) // 4)
    assert store.ids.max() <= 4
    assert (store.ids[store.depth == 0] == 0).all()
    meta = json.loads((store_folder / "meta.json").read_text())
    assert {k: meta[k] for k in ("format", "frames", "width", "height", "seed", "color")} == {
        "format": 1,
        "frames": 22,
        "width": 80,
        "height": 60,
        "seed": 3,
        "color": True,
    }


def test_depth_is_given_in_metres(store_folder: Path) -> None:
    store = open_store(store_folder)
    np.testing.assert_allclose(store.depth_m(5), store.depth[5] * 1e-4, rtol=1e-6)
    assert 0.2 < np.median(store.depth_m(5)) < 6.0


def test_the_bytes_do_not_depend_on_the_number_of_workers(store_folder: Path, tmp_path: Path) -> None:
    generate_store(SMALL, tmp_path / "two", workers=2, progress=False)
    assert _bytes(tmp_path / "two") == _bytes(store_folder)


def test_a_killed_generation_resumes_to_the_same_bytes(store_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    code = (
        "import sys; from instance_seg_ros.learning.synthetic.store import *\n"
        f"generate_store(SynthSettings(**{vars(SMALL)!r}), sys.argv[1], workers=1, progress=False)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(out)])
    deadline = time.monotonic() + 60
    while not ((out / "meta.json").exists() and np.load(out / "done.npy").any()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = np.load(out / "done.npy").copy()
    done[-1] = False  # also when it was quick enough to finish, something is left to resume
    np.save(out / "done.npy", done)
    partial = open_store(out, allow_partial=True)
    assert 0 < len(partial) < 22
    with pytest.raises(ValueError, match="is unfinished: .* of 22 frames; run the same `instance-seg synth`"):
        open_store(out)
    generate_store(SMALL, out, workers=1, progress=False)
    assert _bytes(out) == _bytes(store_folder)


def test_a_partial_store_gives_finished_frames_only(store_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "partial"
    out.mkdir()
    for name, content in _bytes(store_folder).items():
        (out / name).write_bytes(content)
    np.save(out / "done.npy", np.array([True, False, True, False, False, True]))
    assert open_store(out, allow_partial=True).frames.tolist() == [0, 1, 2, 3, 8, 9, 10, 11, 20, 21]


def test_a_folder_with_other_settings_is_not_overwritten(store_folder: Path) -> None:
    before = _bytes(store_folder)
    with pytest.raises(ValueError, match=r"other settings \(max_objects\); choose another folder"):
        generate_store(
            SynthSettings(frames=22, views=4, width=80, height=60, seed=3, max_objects=5, color=True), store_folder
        )
    assert _bytes(store_folder) == before


def test_a_folder_without_a_store_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no scene store: it has no meta.json; make one with"):
        open_store(tmp_path)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="has format 99; this version reads format 1"):
        open_store(tmp_path)


@pytest.mark.parametrize("content", ['{"format": 1, "fra', '{"format": 1}', "[]", "{}"])
def test_a_damaged_description_is_refused_by_its_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "meta.json").write_text(content)
    with pytest.raises(ValueError, match=r"meta\.json does not describe a scene store .* make the store again"):
        open_store(tmp_path)


def test_a_missing_a_cut_and_a_foreign_array_are_refused_by_their_names(store_folder: Path, tmp_path: Path) -> None:
    for name, content in _bytes(store_folder).items():
        (tmp_path / name).write_bytes(content)
    depth = tmp_path / "depth.npy"
    cut, foreign = depth.read_bytes()[:-1], (store_folder / "ids.npy").read_bytes()
    depth.unlink()
    with pytest.raises(ValueError, match=r"depth\.npy is missing or damaged .* make the store again"):
        open_store(tmp_path)
    for content in (cut, b""):
        depth.write_bytes(content)
        with pytest.raises(ValueError, match=r"depth\.npy is missing or damaged .* make the store again"):
            open_store(tmp_path)
    depth.write_bytes(foreign)
    with pytest.raises(ValueError, match=r"depth\.npy holds uint8 \(22, 60, 80\), not uint16"):
        open_store(tmp_path)


@pytest.mark.parametrize(
    ("families", "without", "expected"),
    [("can, mug", "", ("can", "mug")), ("can,mug,box", "mug", ("can", "box"))],
)
def test_families_are_chosen_and_left_out_by_name(families: str, without: str, expected: tuple[str, ...]) -> None:
    assert SynthSettings(families=families, without_families=without).family_names() == expected


def test_a_wrong_choice_of_families_is_refused() -> None:
    with pytest.raises(ValueError, match="no object family spaceship; there are box"):
        SynthSettings(families="spaceship")
    with pytest.raises(ValueError, match="leave no object family"):
        SynthSettings(families="can", without_families="can")


def test_a_worker_that_dies_is_an_error_not_a_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Spawned processes inherit the environment; a start-up file there ends them before they work.
    (tmp_path / "sitecustomize.py").write_text("import os, sys\nif '--multiprocessing-fork' in sys.argv: os._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="run the same command again"):
        generate_store(SMALL, tmp_path / "store", workers=2, progress=False)


def test_colour_changes_neither_depth_nor_ids(store_folder: Path, tmp_path: Path) -> None:
    generate_store(replace(SMALL, color=False), tmp_path / "plain", progress=False)
    for name in ("depth", "ids", "T_world_camera"):
        assert (tmp_path / "plain" / f"{name}.npy").read_bytes() == (store_folder / f"{name}.npy").read_bytes()


def test_a_store_knows_what_is_behind_clear_and_mirroring_objects(tmp_path: Path) -> None:
    settings = replace(SMALL, frames=12, families="wine_glass,spoon", max_objects=12)
    store = open_store(generate_store(settings, tmp_path / "glass", progress=False))
    assert store.behind is not None
    assert (store.behind.shape, store.behind.dtype) == ((12, 60, 80), np.uint16)
    behind_m = np.stack([behind for k in range(12) if (behind := store.behind_m(k)) is not None])
    depth_m = np.stack([store.depth_m(k) for k in range(12)])
    special = behind_m > 0
    assert special.any()
    assert (store.ids[special] > 0).all()
    assert (behind_m[special] > depth_m[special] - 1e-3).all()
    assert np.isinf(behind_m).any()
    assert (special & np.isfinite(behind_m)).any()


def test_a_store_from_before_clear_objects_opens_but_is_not_continued(store_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "old"
    out.mkdir()
    for name, content in _bytes(store_folder).items():
        if name not in ("behind.npy", "traits.npy", "robot.npy"):
            (out / name).write_bytes(content)
    meta = json.loads((out / "meta.json").read_text())
    del meta["behind"], meta["traits"]
    (out / "meta.json").write_text(json.dumps(meta))
    store = open_store(out)
    assert store.behind is None
    assert store.behind_m(0) is None
    assert store.traits is None
    assert store.robot is None
    with pytest.raises(ValueError, match="of an older generator, which made other scenes; choose another folder"):
        generate_store(SMALL, out, progress=False)


def test_a_store_knows_where_a_robot_is_and_what_objects_are_like(tmp_path: Path) -> None:
    settings = replace(SMALL, frames=48, families="toy_car,box", max_objects=6)
    store = open_store(generate_store(settings, tmp_path / "robots", progress=False))
    assert store.robot is not None and store.traits is not None
    assert (store.robot.shape, store.robot.dtype) == ((48, 60, 80), np.bool_)
    assert (store.traits.shape, store.traits.dtype) == ((12, 256), np.uint8)
    assert store.robot.any() and not store.robot.all(axis=(1, 2)).any()
    assert (store.ids[store.robot] == 0).all()
    assert (store.traits & PARTS).any()
    assert not store.traits[:, 0].any()
