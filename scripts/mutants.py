"""Change the code in many small ways and see whether the tests notice: mutation testing.

    python scripts/mutants.py                      # 120 mutants of the folders below
    python scripts/mutants.py messages --count 40  # of some of them

A mutant is the code with one small fault in it: `<` for `<=`, `+` for `-`, another number, a condition turned round, a
statement left out, a transform the wrong way round. It is killed when a test fails or takes too long. The seed decides
which of all possible mutants are tried, so that a run can be repeated. Each is tried in a process of its own that finds
the changed module in place of the file: nothing is written to the tree. Only the tests of the module's own folder run,
those of its name first.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "instance_seg_ros"
PLACES = ("pipeline", "core", "messages", "lifting", "grasping", "tracking", "results", "files")

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_FUNCTIONS = {
    "min": "max",
    "max": "min",
    "minimum": "maximum",
    "maximum": "minimum",
    "any": "all",
    "all": "any",
    "floor": "ceil",
    "ceil": "floor",
    "zeros": "ones",
    "ones": "zeros",
    "argmin": "argmax",
    "argmax": "argmin",
}


@dataclass(frozen=True)
class Mutant:
    """One small fault.

    Attributes:
        path: the file.
        line: where in the file.
        before, after: the code there.
        number: of the node in `ast.walk` of the file.
        replacement: what stands in its place.
    """

    path: Path
    line: int
    before: str
    after: str
    number: int
    replacement: ast.AST

    @property
    def module_name(self) -> str:
        """The module's dotted name."""
        return ".".join(self.path.relative_to(ROOT).with_suffix("").parts)

    def tree(self) -> ast.Module:
        """The module with the fault."""
        tree = ast.parse(self.path.read_text())
        target = next(node for number, node in enumerate(ast.walk(tree)) if number == self.number)
        mutated = ast.fix_missing_locations(_Replace(target, self.replacement).visit(tree))
        assert isinstance(mutated, ast.Module)
        return mutated


@dataclass(frozen=True)
class _Site:
    """A node of the tree by its number in `ast.walk`, and what may stand in its place."""

    number: int
    replacement: ast.AST


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    changed = copy.deepcopy(node)
    match changed:
        case ast.Compare(ops=[operator]) if type(operator) in _COMPARISONS:
            changed.ops = [_COMPARISONS[type(operator)]()]
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in _OPERATORS:
            changed.op = _OPERATORS[type(operator)]()
        case ast.BinOp(op=ast.MatMult()):
            changed.left, changed.right = changed.right, changed.left
        case ast.Call(func=ast.Attribute(value=value, attr="inverse"), args=[]):
            yield value
            return
        case ast.Attribute(value=value, attr="T"):
            yield value
            return
        case ast.BoolOp(op=operator):
            changed.op = ast.Or() if isinstance(operator, ast.And) else ast.And()
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield changed.operand
            return
        case ast.IfExp() | ast.If() | ast.While():
            changed.test = ast.UnaryOp(ast.Not(), changed.test)
        case ast.Constant(value=bool(value)):
            changed.value = not value
        case ast.Constant(value=int(value)):
            changed.value = value + 1
        case ast.Constant(value=float(value)) if value not in (float("inf"), 0.0):
            yield ast.Constant(value * 2)
            changed.value = value / 2
        case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
            changed.func = ast.Name(_FUNCTIONS[name], ast.Load())
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _FUNCTIONS:
            changed.func = ast.Attribute(value, _FUNCTIONS[name], ast.Load())
        case ast.Expr(value=ast.Call()) | ast.Continue():
            yield ast.Pass()
            return
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            changed.value = ast.Constant(None)
        case _:
            return
    yield changed


def _is_left_out(node: ast.AST) -> bool:
    """Whether faults inside a node change only what people read or what tools check."""
    match node:
        case ast.Raise() | ast.Assert() | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
    return False


def _sites(tree: ast.Module) -> Iterator[_Site]:
    numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}

    def visit(node: ast.AST) -> Iterator[_Site]:
        if _is_left_out(node):
            return
        for replacement in _replacements(node):
            yield _Site(numbers[id(node)], replacement)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from visit(child)

    yield from visit(tree)


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self._target, self._replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._target:
            return ast.copy_location(self._replacement, node)
        visited: ast.AST = self.generic_visit(node)
        return visited


def mutants_of(path: Path) -> list[Mutant]:
    """Every mutant of a file."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree))
    return [
        Mutant(
            path,
            getattr(nodes[site.number], "lineno", 0),
            ast.unparse(nodes[site.number]).splitlines()[0],
            ast.unparse(site.replacement).splitlines()[0],
            site.number,
            site.replacement,
        )
        for site in _sites(tree)
    ]


class _MutatedModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutant in place of the file when its module is imported."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._mutant.module_name:
            return None
        return importlib.util.spec_from_file_location(name, self._mutant.path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._mutant.tree(), str(self._mutant.path), "exec"), module.__dict__)


def tests_of(path: Path) -> list[str]:
    """The test files of a source file's folder, those that are named after the file first."""
    folder, name = path.relative_to(PACKAGE).parent, path.stem
    files = sorted((ROOT / "test" / folder).glob("test_*.py"))
    if folder == Path("."):
        files = [file for file in files if name in file.stem]
    return [str(file) for file in sorted(files, key=lambda file: name not in file.stem)]


def _run_as_python(module_name: str) -> None:
    """Lets the kernels of a module run as Python: machine code that was kept knows nothing of a constant's change."""
    from instance_seg_ros.core import compiled

    prepare, inner = compiled.Kernel.prepare, compiled.inner

    def prepared(own: compiled.Kernel[..., object]) -> Callable[..., object]:
        function: Callable[..., object] = own.__wrapped__  # type: ignore[attr-defined]
        return function if function.__module__ == module_name else prepare(own)

    def inner_function(function: Callable[..., object]) -> Callable[..., object]:
        return function if function.__module__ == module_name else inner(function)

    compiled.Kernel.prepare = prepared  # type: ignore[method-assign, assignment]
    compiled.inner = inner_function  # type: ignore[assignment]


def passes(tests: Sequence[str], mutant: Mutant | None, timeout_s: float) -> bool:
    """Whether the tests pass in time in a process with the mutant, or without any."""
    process = os.fork()
    if process == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        if mutant is not None:
            sys.meta_path.insert(0, _MutatedModule(mutant))
            _run_as_python(mutant.module_name)
        import pytest

        status = pytest.main(["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", *tests])
        os._exit(int(status))
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return False


def source_files(places: Sequence[str]) -> list[Path]:
    """The source files of folders and modules of the package.

    Raises:
        ValueError: naming a place that is not there.
    """
    files: list[Path] = []
    for place in places:
        here = [path for path in (PACKAGE / f"{place}.py", *sorted((PACKAGE / place).rglob("*.py"))) if path.is_file()]
        if not here:
            raise ValueError(f"there is no {place} in {PACKAGE.relative_to(ROOT)}")
        files += here
    return files


def main() -> int:
    """Tries the mutants and prints the survivors as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", default=PLACES, help=f"folders or modules (default: {' '.join(PLACES)})")
    parser.add_argument("--count", type=int, default=120, metavar="N", help="how many mutants (default: 120)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides which (default: 0)")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"  # before NumPy is imported: a process with threads cannot be forked safely
    for module in ("numpy", "cv2", "scipy.optimize", "scipy.ndimage", "scipy.spatial", "hypothesis", "pytest"):
        importlib.import_module(module)  # once, for all processes

    try:
        possible = [mutant for path in source_files(arguments.places) for mutant in mutants_of(path) if tests_of(path)]
    except ValueError as error:
        parser.error(str(error))
    chosen = random.Random(arguments.seed).sample(possible, min(arguments.count, len(possible)))
    chosen.sort(key=lambda mutant: (mutant.path, mutant.line))
    print(f"{len(chosen)} of {len(possible)} mutants, seed {arguments.seed}", flush=True)
    limits_s: dict[tuple[str, ...], float] = {}
    survivors = []
    for mutant in chosen:
        tests = tests_of(mutant.path)
        key = tuple(tests)
        if key not in limits_s:
            start_s = time.monotonic()
            if not passes(tests, None, timeout_s=1800.0):
                print(f"the tests of {mutant.path.relative_to(ROOT)} fail without any mutant", file=sys.stderr)
                return 2
            limits_s[key] = 30.0 + 5 * (time.monotonic() - start_s)
        killed = not passes(tests, mutant, limits_s[key])
        if not killed:
            survivors.append(mutant)
        where = f"{mutant.path.relative_to(ROOT)}:{mutant.line}"
        print(f"{'killed  ' if killed else 'SURVIVED'}  {where}  {mutant.before}  ->  {mutant.after}", flush=True)
    share = 1 - len(survivors) / max(len(chosen), 1)
    print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} killed ({share:.0%}); survivors:")
    for mutant in survivors:
        print(f"| {mutant.path.relative_to(ROOT)}:{mutant.line} | `{mutant.before}` | `{mutant.after}` |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
