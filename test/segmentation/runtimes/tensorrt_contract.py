"""Holds the stand-in for TensorRT, and the backend, against the real Python bindings; run in a process of its own.

    python tensorrt_contract.py STAND_IN_TORCH STAND_IN_TENSORRT [STAND_IN_TENSORRT_RTX]

with `tensorrt_bindings` importable, or for TensorRT for RTX `tensorrt_rtx_bindings`. Prints each difference; exit
status 1 when there is one.
"""

from __future__ import annotations

import enum
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from instance_seg_ros.segmentation.runtimes.engine_builder import TensorRtLibrary

# Words that the bindings use for the types in the stand-in's annotations.
_WORDS = {"int": {"int", "SupportsInt"}, "bytes": {"buffer", "Buffer"}, "str | None": {"str"}, "Severity": {"Severity"}}


def differences(stand_in: ModuleType, real: ModuleType) -> Iterator[str]:
    """What the stand-in offers and the bindings do not offer in the same way."""
    for name, kind in vars(stand_in).items():
        if inspect.isclass(kind) and kind.__module__ == stand_in.__name__ and not name.startswith("_"):
            yield from _differences_of_class(name, kind, real)


def _differences_of_class(name: str, kind: type, real: object) -> Iterator[str]:
    if not hasattr(real, name):
        yield f"there is no {name}"
        return
    real_kind = getattr(real, name)
    if issubclass(kind, enum.Enum):
        for member in kind:
            if member.name not in real_kind.__members__:
                yield f"there is no {name}.{member.name}"
            elif real_kind.__members__[member.name].name != member.name:
                yield f"{name}.{member.name} does not know its name"
            elif isinstance(member, enum.IntEnum) and int(real_kind.__members__[member.name]) != int(member):
                yield f"{name}.{member.name} is {int(real_kind.__members__[member.name])}, not {int(member)}"
        return
    for member_name, member in vars(kind).items():
        path = f"{name}.{member_name}"
        if inspect.isclass(member):
            yield from _differences_of_class(member_name, member, real_kind)
        elif member_name.startswith("_") and member_name != "__init__":
            continue
        elif not hasattr(real_kind, member_name):
            yield f"there is no {path}"
        elif isinstance(member, property):
            yield from _differences_of_property(path, member, getattr(real_kind, member_name))
        elif inspect.isfunction(member) and not _is_private(member):
            text = getattr(real_kind, member_name).__doc__ or ""
            if not any(_takes(signature, member) for signature in signatures(text)):
                yield f"{path}{inspect.signature(member)} is not among: {text.strip()}"


def _differences_of_property(path: str, member: property, real: object) -> Iterator[str]:
    if not isinstance(real, property):
        yield f"{path} is no property"
    elif member.fset is not None and real.fset is None:
        yield f"{path} cannot be set"


def _is_private(function: Callable[..., object]) -> bool:
    """Constructors of what only TensorRT itself makes."""
    kinds = {parameter.kind for parameter in inspect.signature(function).parameters.values()}
    return inspect.Parameter.VAR_POSITIONAL in kinds


def signatures(text: str) -> list[tuple[list[tuple[str, str, bool]], str]]:
    """(parameters as (name, type, has a default), without self; returned type) of each overload in a docstring."""
    found = []
    for match in re.finditer(r"^(?:\d+\. )?\w+\((self: .*)\) -> (.*)$", text, re.MULTILINE):
        parameters = []
        for parameter in _split(match[1])[1:]:
            declaration, equals, _ = parameter.partition(" = ")
            name, _, kind = declaration.partition(": ")
            parameters.append((name, kind, bool(equals)))
        found.append((parameters, match[2].strip()))
    return found


def _split(arguments: str) -> list[str]:
    """At the commas that no bracket encloses."""
    parts, depth = [""], 0
    for character in arguments:
        depth += (character in "([{<") - (character in ")]}>")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _takes(signature: tuple[list[tuple[str, str, bool]], str], function: Callable[..., object]) -> bool:
    """Whether the real signature accepts what the stand-in's function accepts, and returns what it returns."""
    real, real_returned = signature
    ours = list(inspect.signature(function).parameters.values())[1:]
    if len(ours) > len(real):
        return False
    for parameter, (name, kind, _) in zip(ours, real, strict=False):
        if parameter.name != name or not _same_type(parameter.annotation, kind):
            return False
    optional = all(has_default for _, _, has_default in real[len(ours) :])
    return optional and _same_type(inspect.signature(function).return_annotation, real_returned)


def _same_type(annotation: str, real: str) -> bool:
    last = re.split(r"[.:]", real)[-1]
    return annotation == "Any" or last in _WORDS.get(annotation, {annotation})


def backend_differences(library: TensorRtLibrary) -> Iterator[str]:
    """What the backend cannot do with these bindings, of what needs neither TensorRT's libraries nor a GPU."""
    from instance_seg_ros.segmentation.runtimes import engine_builder, tensorrt_backend

    trt = library.module
    key = tensorrt_backend.engine_key(library, "0" * 64, {"intrinsics": (4,)}, "tf32", "nothing")
    if key.builder_flags != ("STRONGLY_TYPED", "TF32") or not key.tensorrt_version.endswith(f" {trt.__version__}"):
        yield f"the engine's key is {key}"
    if (reason := tensorrt_backend.obstacle(library)) is not None:
        yield f"the backend would not run: {reason}"
    library.logger.log(trt.ILogger.Severity.WARNING, "a warning")
    library.logger.log(trt.ILogger.Severity.ERROR, "an error")
    if not isinstance(library.logger, trt.ILogger) or library.errors.reason() != "an error":
        yield f"the logger gives {library.errors.reason()!r}"
    lines: list[str] = []
    monitor = engine_builder._progress_monitor(trt, engine_builder.Progress(lines.append))
    monitor.phase_start("Building", None, 2)
    if not isinstance(monitor, trt.IProgressMonitor) or not monitor.step_complete("Building", 0):
        yield "the progress monitor is none"
    if lines != ["0%, Building", "50%, Building"]:
        yield f"the progress is {lines}"


def _load(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(torch_path: str, tensorrt_path: str, rtx_path: str = "") -> int:
    """Compares; returns the exit status."""
    name, module = ("tensorrt-rtx", "tensorrt_rtx_bindings") if rtx_path else ("tensorrt", "tensorrt_bindings")
    bindings = importlib.import_module(module)
    _load("torch", torch_path)
    found = list(differences(_load("tensorrt", tensorrt_path), bindings))
    if rtx_path:
        found += differences(_load("stand_in_rtx", rtx_path), bindings)
    else:
        sys.modules["tensorrt"] = bindings
    from instance_seg_ros.segmentation.runtimes.engine_builder import load_library

    library = load_library(name)
    found += backend_differences(library)
    print(library.version, *found, sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
