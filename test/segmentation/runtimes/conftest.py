"""Folders of small models that answer prompts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def folders() -> ModuleType:
    """The module beside this file."""
    path = Path(__file__).with_name("prompt_folders.py")
    spec = importlib.util.spec_from_file_location("prompt_folders", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
