"""The TensorRT modules on a GPU that is stood in for."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from instance_seg_ros.segmentation import runtimes
from instance_seg_ros.segmentation.runtimes import engine_builder, nvidia_driver

STAND_INS = Path(__file__).parent / "stand_in_gpu"
# Those that import PyTorch or TensorRT, the imported before the importing.
GPU_MODULES = {"cuda_graph": "cuda_graph", "backend": "tensorrt_backend", "factory": "tensorrt_factory"}


def _load(monkeypatch: pytest.MonkeyPatch, name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """`torch`, `tensorrt`, its `library` and the modules of GPU_MODULES; processes that are started see the same GPU.

    `builds()` counts the builds so far, of all processes.
    """
    importlib.import_module(f"{runtimes.__name__}.pytorch_backend")  # on the real PyTorch, before it is hidden
    builds = tmp_path / "builds.txt"
    monkeypatch.setenv("STAND_IN_BUILDS", str(builds))
    monkeypatch.delenv("STAND_IN_FAULT", raising=False)
    monkeypatch.syspath_prepend(str(STAND_INS))
    package = Path(runtimes.__file__).parent
    loaded: dict[str, object] = {
        name: _load(monkeypatch, name, STAND_INS / f"{name}.py")
        for name in ("torch", "tensorrt", "tensorrt_rtx_bindings")
    }
    monkeypatch.setattr(nvidia_driver, "obstacle", lambda: None)
    for module, name in GPU_MODULES.items():
        loaded[module] = _load(monkeypatch, f"{runtimes.__name__}.{name}", package / f"{name}.py")
    library = engine_builder.load_library("tensorrt")
    return SimpleNamespace(
        **loaded, library=library, builds=lambda: len(builds.read_text().splitlines()) if builds.exists() else 0
    )
