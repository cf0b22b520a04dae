"""Kernels: compiled once for a machine, for the types that they declare; as Python they give the same numbers."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.errors import NumbaError

from instance_seg_ros.core.compiled import Kernel, kernel

PACKAGE = Path(__file__).resolve().parents[2] / "instance_seg_ros"
ROWS = """\
import sys
import numpy as np
from instance_seg_ros.core.compiled import compile_kernels, kernel
from squares import squared

@kernel("float64[::1]")
def energy(values):
    total = 0.0
    for value in values:
        total += squared(value)
    return total

@kernel("int64")
def doubled(count):
    return 2 * count

if __name__ == "__main__":
    compile_kernels(lambda line: print("report:", line))
    print(energy(np.array([1.0, 2.0, 3.0])), doubled(4), energy.folder)
"""
SQUARES = """\
from instance_seg_ros.core.compiled import inner

@inner
def squared(value):
    return value * value
"""


@kernel("float32[:, ::1]", "float64", "float32[:, ::1]", writes=("result",))
def scaled(image: np.ndarray, factor: float, result: np.ndarray) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            result[y, x] = image[y, x] * factor


@kernel("float64", "float64")
def ratio(first: float, second: float) -> float:
    return first / second


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "rows.py"
    path.write_text(ROWS)
    (tmp_path / "squares.py").write_text(SQUARES)
    return path


def started(script: Path, **environment: str) -> subprocess.Popen[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    paths = os.pathsep.join([str(PACKAGE.parent), known.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, script],
        env={**known, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> list[str]:
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    return text.splitlines()


def test_read_only_and_plain_arrays_are_taken() -> None:
    image, result = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((2, 3), np.float32)
    scaled(image, 2, result)
    assert result.tolist() == [[0, 2, 4], [6, 8, 10]]
    image.setflags(write=False)
    scaled(image, 0.5, result)
    assert result.tolist() == [[0, 0.5, 1], [1.5, 2, 2.5]]


@pytest.mark.parametrize(
    ("image", "result"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3), np.float32)),
        (np.zeros((2, 6), np.float32)[:, ::2], np.zeros((2, 3), np.float32)),
        (np.zeros(3, np.float32), np.zeros(3, np.float32)),
        (np.zeros((2, 3), np.float32), np.broadcast_to(np.zeros(3, np.float32), (2, 3))),
    ],
    ids=["another type", "not contiguous", "another number of axes", "written to, but read-only"],
)
def test_other_arrays_than_declared_are_refused(image: np.ndarray, result: np.ndarray) -> None:
    with pytest.raises(TypeError, match="argument type"):
        scaled(image, 1.0, result)


def test_a_kernel_that_writes_to_what_it_does_not_declare_is_not_compiled() -> None:
    def spoiled(values: np.ndarray) -> None:
        values[0] = 0

    with pytest.raises(NumbaError, match="Cannot modify readonly array"):
        Kernel(spoiled, ("float64[::1]",), ())(np.ones(2))


def test_division_by_zero_is_as_in_numpy() -> None:
    assert ratio(1, 0) == np.inf and np.isnan(ratio(0, 0))


def test_what_one_process_compiles_others_load_until_it_is_damaged_or_a_file_changes(script: Path) -> None:
    first, second = (started(script) for _ in range(2))  # at the same time: each kernel is compiled by one of them
    folder = script.parent / "__pycache__"
    both = output(first) + output(second)
    assert [line for line in both if not line.startswith("report")] == 2 * [f"14.0 8 {folder}"]
    assert sum(int(line.split()[2]) for line in both if "report: compiled" in line) == 2
    for path in folder.glob("*.nbc"):
        path.write_bytes(path.read_bytes()[:100])
    assert "compiled 2 functions" in output(started(script))[1]
    assert [path.stat().st_size > 100 for path in folder.glob("*.nbc")] == [True, True]
    (script.parent / "squares.py").write_text(SQUARES.replace("value * value", "value * value * value"))
    assert output(started(script))[-1] == f"36.0 8 {folder}"
    script.write_text(ROWS.replace("2 * count", "3 * count"))
    assert output(started(script))[-1] == f"36.0 12 {folder}"


def test_where_the_folder_cannot_be_written_to_code_is_kept_for_the_user_or_not_at_all(
    script: Path, tmp_path: Path
) -> None:
    (script.parent / "__pycache__").write_text("a file, into which not even root can write another")
    cache = tmp_path / "cache"
    assert output(started(script, XDG_CACHE_HOME=str(cache)))[-1].startswith(f"14.0 8 {cache}/numba/")
    *_, report, results = output(started(script, XDG_CACHE_HOME=os.devnull))
    assert results == "14.0 8 None"
    assert "not kept, so that the next start compiles again (cannot cache function" in report


def test_without_compilation_the_numbers_are_the_same(script: Path) -> None:
    assert output(started(script, NUMBA_DISABLE_JIT="1")) == ["14.0 8 None"]


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PACKAGE.rglob("*.py")) if "core.compiled import" in path.read_text()],
    ids=lambda path: path.name,
)
def test_what_kernels_read_is_in_their_own_file_and_what_they_call_as_well_or_inner(path: Path) -> None:
    """Code is kept until such a file changes: another's constant or plain function would go stale in silence."""
    tree = ast.parse(path.read_text())
    foreign = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("instance_seg_ros")
        for alias in node.names
        if not is_inner(str(node.module), alias.name)
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and decorators(node) & {"kernel", "inner"}:
            used = {name.id for part in node.body for name in ast.walk(part) if isinstance(name, ast.Name)}
            assert not used & foreign, node.name


def is_inner(module: str, name: str) -> bool:
    path = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
    body = ast.parse(path.read_text()).body if path.is_file() else []
    return any(isinstance(node, ast.FunctionDef) and node.name == name and "inner" in decorators(node) for node in body)


def decorators(node: ast.FunctionDef) -> set[str]:
    called = (own.func if isinstance(own, ast.Call) else own for own in node.decorator_list)
    return {own.id for own in called if isinstance(own, ast.Name)}
