"""Every name, argument and enum that the backend uses exists in the real bindings of each supported TensorRT.

The backend runs on a stand-in in the other tests; here the stand-in is held against the real Python bindings, which are
on PyPI without the libraries behind them. Empty libraries with the entry points that the bindings ask for let them be
imported on any machine. The wheels are downloaded once into build/, and the tests skipped where that is not possible.
"""

from __future__ import annotations

import enum
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
DOWNLOADS = ROOT / "build" / "tensorrt_bindings"
VERSIONS = ("10.3.0", "10.13.3.9", "11.4.0.106")
"""JetPack 6.1 and 6.2, JetPack 7, and the newest."""
ENTRY_POINTS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")


def load(name: str, path: Path) -> ModuleType:
    """A module from a file, without a place among the imported ones."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def download(version: str) -> Path:
    """The folder with the unpacked bindings."""
    folder = DOWNLOADS / version
    if not folder.exists():
        wheels = DOWNLOADS / f"{version}.wheels"
        shutil.rmtree(wheels, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--retries=1", "--timeout=20", f"--dest={wheels}"]
        result = subprocess.run(
            [*command, f"tensorrt-cu12-bindings=={version}"], check=False, capture_output=True, text=True
        )
        if result.returncode != 0:
            pytest.skip(f"cannot download TensorRT's bindings: {result.stderr.strip().splitlines()[-1]}")
        (wheel,) = wheels.glob("*.whl")
        zipfile.ZipFile(wheel).extractall(wheels / "unpacked")
        (wheels / "unpacked").rename(folder)
    return folder


def compile_libraries(folder: Path, major: str) -> None:
    """Libraries that have the entry points and do nothing."""
    source = folder / "nothing.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in ENTRY_POINTS))
    for library in LIBRARIES:
        name = f"{library}.so.{major}"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / name, source, f"-Wl,-soname,{name}"], check=True)


def compare(stand_ins: tuple[str, ...], environment: dict[str, str]) -> str:
    """What the comparison prints when there is no difference."""
    paths = [str(HERE.parent / "stand_in_gpu" / f"{name}.py") for name in stand_ins]
    command = [sys.executable, HERE / "tensorrt_contract.py", *paths]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    result = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_backend_uses_only_what_the_bindings_have(version: str, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    bindings = download(version)
    compile_libraries(tmp_path, version.partition(".")[0])
    environment = {
        "LD_LIBRARY_PATH": f"{tmp_path}:{os.environ.get('LD_LIBRARY_PATH', '')}",
        "PYTHONPATH": f"{bindings}:{ROOT}",
        "STAND_IN_TENSORRT": version,
    }
    assert compare(("torch", "tensorrt"), environment) == f"TensorRT {version}"


def test_the_backend_uses_only_what_tensorrt_for_rtx_has() -> None:
    rtx = pytest.importorskip("tensorrt_rtx_bindings")
    environment = {"STAND_IN_TENSORRT": rtx.__version__, "STAND_IN_CAPABILITY": "8.9"}
    stand_ins = ("torch", "tensorrt", "tensorrt_rtx_bindings")
    assert compare(stand_ins, environment) == f"TensorRT for RTX {rtx.__version__}"


def real_class(doc: str) -> type:
    """A class as bindings show it, whose method `run` has this docstring."""

    class Real:
        def run(self) -> None: ...

    Real.run.__doc__ = doc
    return Real


@pytest.mark.parametrize(
    ("doc", "fits"),
    [
        ("run(self: trt.Real, name: str, memory: int) -> bool", True),
        ("run(self: trt.Real, name: str, memory: typing.SupportsInt, more: Dims = <Dims.X: 0>) -> bool", True),
        (
            "run(*args, **kwargs)\n1. run(self: R, a: int) -> bool\n2. run(self: R, name: str, memory: int) -> bool",
            True,
        ),
        ("run(self: trt.Real, memory: int, name: str) -> bool", False),
        ("run(self: trt.Real, name: str, memory: str) -> bool", False),
        ("run(self: trt.Real, name: str, address: int) -> bool", False),
        ("run(self: trt.Real, name: str, memory: int) -> None", False),
        ("run(self: trt.Real, name: str, memory: int, more: int) -> bool", False),
        ("run(self: trt.Real, name: str) -> bool", False),
        ("", False),
    ],
)
def test_a_signature_that_does_not_fit_is_found(doc: str, fits: bool) -> None:
    contract = load("tensorrt_contract", HERE / "tensorrt_contract.py")
    stand_in = ModuleType("stand_in")
    exec(
        "from __future__ import annotations\nclass Thing:\n    def run(self, name: str, memory: int) -> bool: ...\n",
        vars(stand_in),
    )
    assert bool(list(contract.differences(stand_in, SimpleNamespace(Thing=real_class(doc))))) is not fits


def test_names_that_are_missing_are_found() -> None:
    contract = load("tensorrt_contract", HERE / "tensorrt_contract.py")
    stand_in = ModuleType("stand_in")
    exec(
        "import enum\n"
        "class Flag(enum.IntEnum):\n    ONE = 1\n    TWO = 2\n    THREE = 3\n"
        "class Gone: ...\n"
        "class Config:\n    def set_flag(self) -> None: ...\n",
        vars(stand_in),
    )
    real = SimpleNamespace(Flag=enum.IntEnum("Flag", {"ONE": 1, "TWO": 5}), Config=type("Config", (), {}))
    assert set(contract.differences(stand_in, real)) == {
        "Flag.TWO is 5, not 2",
        "there is no Flag.THREE",
        "there is no Gone",
        "there is no Config.set_flag",
    }


def test_the_stand_in_for_pytorch_has_only_what_pytorch_has() -> None:
    torch = pytest.importorskip("torch")
    stand_in = load("stand_in_torch", HERE.parent / "stand_in_gpu" / "torch.py")

    def public(owner: object) -> set[str]:
        return {name for name in dir(owner) if not name.startswith("_")}

    assert {"Tensor", "zeros", "float32"} <= public(stand_in) & public(torch)
    imported = {"annotations", "contextmanager", "np", "os", "Callable", "Iterator", "SimpleNamespace"}
    assert public(stand_in) - imported <= public(torch)
    assert public(stand_in.Tensor) <= public(torch.Tensor)
    assert public(stand_in.cuda) <= public(torch.cuda)
    for name in ("Stream", "CUDAGraph"):
        assert public(getattr(stand_in.cuda, name)) - {"cuda_stream"} <= public(getattr(torch.cuda, name))
    flags = inspect.signature(stand_in.backends.cudnn.flags)
    assert set(flags.parameters) <= set(inspect.signature(torch.backends.cudnn.flags).parameters)
    graph = inspect.signature(stand_in.cuda.graph)
    assert set(graph.parameters) <= set(inspect.signature(torch.cuda.graph).parameters)
