"""What `from instance_seg_ros import NAME` gives, and that importing the package stays cheap."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import instance_seg_ros

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "instance_seg_ros" / "__init__.py"


@pytest.mark.parametrize("name", instance_seg_ros.__all__)
def test_each_public_name_is_the_object_of_its_own_module(name: str) -> None:
    value = getattr(instance_seg_ros, name)
    assert value.__name__ == name
    assert getattr(importlib.import_module(value.__module__), name) is value


def test_type_checkers_and_python_find_the_same_names_in_the_same_modules() -> None:
    (block,) = (
        node
        for node in ast.parse(SOURCE.read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen_by_type_checkers = {
        alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    defined_in = {name: getattr(instance_seg_ros, name).__module__ for name in instance_seg_ros.__all__}
    assert seen_by_type_checkers == defined_in
    assert set(instance_seg_ros.__all__) <= set(dir(instance_seg_ros))


def test_a_star_import_gives_every_public_name() -> None:
    names: dict[str, object] = {}
    exec("from instance_seg_ros import *", names)
    assert set(instance_seg_ros.__all__) <= names.keys()


def test_an_unknown_name_is_an_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="'instance_seg_ros' has no attribute 'Pipelin'"):
        instance_seg_ros.Pipelin  # noqa: B018
    with pytest.raises(ImportError, match="Pipelin"):
        exec("from instance_seg_ros import Pipelin")


def test_importing_the_package_imports_nothing_else_of_it_nor_numpy() -> None:
    program = "import sys, instance_seg_ros; print(*sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    imported = shown.split()
    assert "instance_seg_ros" in imported
    assert [name for name in imported if name.startswith(("instance_seg_ros.", "numpy", "cv2", "scipy"))] == []
