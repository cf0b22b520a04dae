"""Open3D, an optional library that needs libraries of the system."""

from __future__ import annotations

from types import ModuleType

from instance_seg_ros.core.errors import InputError


def load_open3d() -> ModuleType:
    """The module ``open3d``.

    Raises:
        InputError: it lacks a library of the system.
        ModuleNotFoundError: it is not installed.
    """
    try:
        import open3d
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        raise InputError(
            f"Open3D cannot be loaded ({error}); it needs: apt install libusb-1.0-0 libgl1 libx11-6"
        ) from error
    module: ModuleType = open3d
    return module
