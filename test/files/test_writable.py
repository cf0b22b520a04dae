"""Whether results can be written is told before the work."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest
from claims import claimed_by_another

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.files.writable import check_file, check_folder, claimed_folder


@pytest.mark.parametrize(
    ("check", "path", "told"),
    [
        (check_folder, "folder", None),
        (check_folder, "new/and/newer", None),
        (check_folder, "file", "--out file is no folder"),
        (check_folder, "file/below", "--out file/below: {here}/file is no folder"),
        (check_folder, "/proc/results", "--out /proc/results cannot be written to"),  # nor by root
        (check_file, "folder/new.onnx", None),
        (check_file, "new/new.onnx", None),
        (check_file, "file", None),
        (check_file, "folder", "--out folder is a folder, not a file"),
        (check_file, "file/x.onnx", "--out file is no folder"),
        (check_file, "/proc/x.onnx", "--out /proc cannot be written to"),
        (check_file, None, None),
        (check_folder, None, None),
    ],
)
def test_what_cannot_be_written_to_is_told_and_nothing_is_left_behind(
    check: Callable, path: str | None, told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").write_text("kept")
    asked = None if path is None else Path(path)
    if told is None:
        check(asked, "--out")
    else:
        with pytest.raises(InputError) as caught:
            check(asked, "--out")
        assert str(caught.value).startswith(told.format(here=tmp_path))
    assert sorted(str(found) for found in Path().rglob("*")) == ["file", "folder"]
    assert Path("file").read_text() == "kept"


def test_a_folder_that_another_process_works_in_is_refused_until_that_ends(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    told = pytest.raises(InputError, match=f"another process is at work in --out {folder}: wait for it")
    with claimed_by_another(folder), told, claimed_folder(folder, "--out"):
        pass
    with claimed_folder(folder, "--out"):
        assert folder.is_dir()


def test_where_a_file_system_has_no_locks_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", without_locks)
    with claimed_folder(tmp_path, "--out"):
        (tmp_path / "result").touch()
    assert (tmp_path / "result").exists()
