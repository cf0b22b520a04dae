"""Run what is for an NVIDIA GPU without one, on PyTorch's own CUDA code: what waits, is captured and is launched.

    python -m venv /tmp/cuda && /tmp/cuda/bin/pip install torch    # for CUDA 13, 5 GB; the rest is in .venv:
    echo $PWD/.venv/lib/python3.*/site-packages > $(echo /tmp/cuda/lib/python3.*/site-packages)/zz.pth
    /tmp/cuda/bin/python scripts/fake_cuda.py --check    # waits in captures and memory used too early are noticed
    /tmp/cuda/bin/python scripts/fake_cuda.py -m instance_seg_ros.commands.gpu_check --one-size
    /tmp/cuda/bin/python scripts/fake_cuda.py -m instance_seg_ros.commands.main train --device cuda \
        --store STORE --out RUN --steps 20

Everything of PyTorch is real but what touches the GPU: CUDA's runtime, cuBLAS and cuDNN are stood in for by libraries
that are loaded before them (`fake_cuda/`). Kernels compute nothing: whatever comes down is 0, and so no result means
anything. What does: which calls wait for the GPU, whether and by what a capture is broken, whether memory is used
before a copy from or to it is done, shapes, types and devices, launches and the nodes of each graph, and that Triton
compiles what runs through it. What it cannot see: a stream that uses what another one has not made yet, or memory that
was given back too early, on the GPU itself; errors of kernels; how much memory cuDNN wants; times. Each process tells
what it saw on stderr when it ends; FAKE_CUDA_KERNELS=1 names every kernel, FAKE_CUDA_CAPABILITY=86 makes it another GPU
than one of 9.0. Needs g++.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

_SOURCES = Path(__file__).with_suffix("")
_LIBRARIES = ("libc10_cuda.so", "libtorch_cuda.so", "libtorch_python.so", "libcaffe2_nvrtc.so")
_KEPT = (
    "cudnnGetVersion",
    "cudnnGetCudartVersion",
    "cudnnGetErrorString",
    "cudnnGetLastErrorString",
    "cudnnGetProperty",
)
"""Of cuDNN, what needs no GPU."""
_SPECIAL = {
    "cublasCreate_v2": "(void** made) { static int it; *made = &it; return 0; }",
    "cublasSetStream_v2": "(void*, void* stream) { blas_stream = stream; return 0; }",
    "cublasGetMathMode": "(void*, int* mode) { *mode = 0; return 0; }",
    "cublasGetPointerMode_v2": "(void*, int* mode) { *mode = 0; return 0; }",
    "cublasLtMatmulAlgoGetHeuristic": (
        "(void*, void*, void*, void*, void*, void*, void*, int, void*, int* found) { *found = 1; return 0; }"
    ),
    "cublasLtMatmul": (
        "(void*, void*, const void*, const void*, void*, const void*, void*, const void*, const void*, void*, void*, "
        "void*, const void*, void*, size_t, void* stream)"
        ' { return fake_cuda_launch(stream, "cublasLtMatmul") ? 13 : 0; }'
    ),
    "cudnnCreate": "(void** made) { static int it; *made = &it; return 0; }",
    "cudnnSetStream": "(void*, void* stream) { dnn_stream = stream; return 0; }",
    "cudnnGetStream": "(void*, void** stream) { *stream = dnn_stream; return 0; }",
    "cudnnBackendCreateDescriptor": "(int, void** made) { *made = malloc(64); return 0; }",
    # One engine, which needs no memory of its own: types 15 and 3 are descriptors and 64-bit integers.
    "cudnnBackendGetAttribute": (
        "(void*, int, int type, long room, long* count, void* values) {"
        " bool is_number = type == 3 && values && room > 0; if (is_number) *(long*)values = 0;"
        " if (count) *count = type == 15 || is_number; return 0; }"
    ),
    "cudnnBackendExecute": (
        '(void*, void*, void*) { return fake_cuda_launch(dnn_stream, "cudnnBackendExecute") ? 5000 : 0; }'
    ),
    "cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize": (
        "(void*, int, int, void*, void*, void*, void*, void*, size_t* bytes) { *bytes = 0; return 0; }"
    ),
    "cudnnGetBatchNormalizationTrainingExReserveSpaceSize": (
        "(void*, int, int, void*, void*, size_t* bytes) { *bytes = 1024; return 0; }"
    ),
    "cudnnGetBatchNormalizationBackwardExWorkspaceSize": (
        "(void*, int, int, void*, void*, void*, void*, void*, void*, void*, size_t* bytes) { *bytes = 0; return 0; }"
    ),
}
_CHECK = """
import torch
stream, x = torch.cuda.Stream(), torch.ones(8, device="cuda")
for wait in (False, True):
    try:
        with torch.cuda.graph(torch.cuda.CUDAGraph(), stream=stream):
            y = (x + 1).sum()
            y.item() if wait else None
    except RuntimeError as error:
        assert wait and "not permitted when stream is capturing" in str(error.__context__), error
    else:
        assert not wait, "a wait in a capture was not noticed"
down = torch.zeros(8, pin_memory=True)
down.copy_(x, non_blocking=True)
assert down.isnan().all(), "what is not there yet could be read"
torch.cuda.synchronize()
assert not down.any()
down.fill_(1)
x.copy_(down, non_blocking=True)
down.fill_(2)  # which the report calls a fault
torch.cuda.synchronize()
"""
_FAULTS_OF_CHECK = 2


def built(folder: Path) -> tuple[Path, Path]:
    """The stand-ins for the runtime with its libraries, and for the driver, made in a folder."""
    torch_folder = Path(importlib.util.find_spec("torch").submodule_search_locations[0])  # type: ignore[union-attr, index]
    if not (torch_folder / "lib" / _LIBRARIES[1]).is_file():
        raise SystemExit("fake_cuda: PyTorch here was built without CUDA; see --help")
    wanted = _undefined(torch_folder / "lib" / name for name in _LIBRARIES)
    includes = [f"-I{path}" for path in torch_folder.parent.glob("nvidia/cu1*/include")]
    includes.append(f"-I{torch_folder.parent / 'triton/backends/nvidia/include'}")
    runtime = (_SOURCES / "runtime.cpp").read_text()
    (folder / "libraries.cpp").write_text(_libraries(wanted, runtime))
    options = ["g++", "-std=c++17", "-O1", "-w", "-fPIC", "-shared", *includes]
    loaded, driver = folder / "libfake_cuda.so", folder / "libcuda.so.1"
    subprocess.run(
        [*options, str(_SOURCES / "runtime.cpp"), str(folder / "libraries.cpp"), "-o", str(loaded)], check=True
    )
    rest = "\n".join(
        f'extern "C" int {name}(...) {{ return 801; }}'
        for name in sorted(wanted)
        if re.match(r"cu[A-Z]", name) and not name.startswith("cuFile")
        if not re.search(rf"\b{name}\(", (_SOURCES / "driver.cpp").read_text())
    )
    (folder / "rest.cpp").write_text(rest)
    sources = [str(_SOURCES / "driver.cpp"), str(folder / "rest.cpp")]
    subprocess.run([*options, *sources, "-Wl,-soname,libcuda.so.1", "-o", str(driver)], check=True)
    return loaded, driver


def _undefined(libraries: Iterable[Path]) -> set[str]:
    """What libraries want of others."""
    command = ["nm", "-D", "--undefined-only", *map(str, libraries)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[-1].partition("@")[0] for line in lines if line.strip() and not line.endswith(":")}


def _libraries(wanted: Iterable[str], runtime: str) -> str:
    """C++ of cuBLAS and cuDNN, which launch one kernel a call, and of what `runtime` lacks, which fails."""
    lines = ["#include <cstddef>", "#include <cstdlib>", 'extern "C" int fake_cuda_launch(void*, const char*);']
    lines.append("static thread_local void *blas_stream, *dnn_stream;")
    for name in sorted(set(wanted) - set(_KEPT)):
        computes = re.search(r"gemm|gemv|Gemm|trsm|dot|Dot|getr|geqr|gels", name) or re.match(
            r"cudnn(BatchNorm|Conv|Spatial|Pooling)", name
        )
        if name == "cublasLtGetVersion":
            body = "() { return 130000; }"
        elif name in _SPECIAL:
            body = _SPECIAL[name]
        elif not name.startswith(("cublas", "cudnn")):
            if not re.match(r"(__)?cuda[A-Z]", name) or re.search(rf"\b{name}\(", runtime):
                continue
            body = "(...) { return 801; }"  # cudaErrorNotSupported
        elif re.match(r"cublas.*Create$|cudnnCreate", name):
            body = "(void** made) { *made = malloc(64); return 0; }"
        elif computes:
            on, error = ("blas_stream", 13) if name.startswith("cublas") else ("dnn_stream", 5000)
            body = f'(...) {{ return fake_cuda_launch({on}, "{name}") ? {error} : 0; }}'
        else:
            body = "(...) { return 0; }"
        kind = "size_t" if name == "cublasLtGetVersion" else "int"
        lines.append(f'extern "C" {kind} {name}{body}')
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Runs Python with these arguments on what stands in for a GPU; returns its exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loaded, driver = built(folder)
        (folder / "libcuda.so").symlink_to(driver)
        root = str(_SOURCES.parent.parent)
        environment = {
            **os.environ,
            "LD_PRELOAD": str(loaded),
            "LD_LIBRARY_PATH": ":".join(filter(None, (name, os.environ.get("LD_LIBRARY_PATH")))),
            "PYTHONPATH": ":".join(filter(None, (root, os.environ.get("PYTHONPATH")))),
            "TRITON_LIBCUDA_PATH": name,
            # What was compiled is linked to what goes with this folder.
            "TRITON_CACHE_DIR": f"{name}/triton",
            "TORCHINDUCTOR_CACHE_DIR": f"{name}/inductor",
        }
        is_check = list(arguments) == ["--check"]
        command = [sys.executable, *(("-c", _CHECK) if is_check else arguments)]
        result = subprocess.run(command, check=False, env=environment, stderr=subprocess.PIPE if is_check else None)
        if not is_check:
            return result.returncode
        told = (result.stderr or b"").decode()
        print(told, file=sys.stderr)
        return result.returncode or int(f"faults: {_FAULTS_OF_CHECK};" not in told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
