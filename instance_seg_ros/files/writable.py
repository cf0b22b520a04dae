"""Whether results can be written, and by this process alone, told before the work whose results they are."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instance_seg_ros.core.errors import InputError

_IN_USE = ".in_use"


@contextmanager
def claimed_folder(path: Path, option: str) -> Iterator[None]:
    """Keeps other processes that claim a folder from working in it, as two that go on with one work would spoil it.

    The claim ends with this process, however it ends; those that it forks do not hold it. An empty file stays behind.
    Where a file system has no locks, nobody is kept out.

    Args:
        path: the folder; made when missing.
        option: that names it, such as "--out".

    Raises:
        InputError: another process works in it.
        OSError: it cannot be made.
    """
    path.mkdir(parents=True, exist_ok=True)
    with (path / _IN_USE).open("ab") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Other errors: some network file systems have no locks, and nobody is kept from a folder there.
            if isinstance(error, BlockingIOError | PermissionError):
                raise InputError(
                    f"another process is at work in {option} {path}: wait for it, stop it, or choose another folder"
                ) from error
        yield


def check_folder(path: Path | None, option: str) -> None:
    """Raises where files cannot be written into a folder, which may still have to be made. Leaves nothing behind.

    Args:
        path: the folder; None for none.
        option: that names it, such as "--out".

    Raises:
        InputError: it is a file, or lies below one, or its file system takes no new files.
    """
    if path is None:
        return
    nearest = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        raise InputError(f"{option} {path}{'' if nearest == path else f': {nearest}'} is no folder")
    try:
        # Tried and not asked for: root may do what its file system does not take.
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written to: {error.strerror}") from error


def check_file(path: Path | None, option: str) -> None:
    """Raises where a file cannot be written, new or in the place of one that is there. Leaves nothing behind.

    Raises:
        InputError: it is a folder, or its folder is none that can be written to.
    """
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder, not a file")
    check_folder(path.parent, option)
