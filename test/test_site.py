"""The documentation as one site: it builds, has every page, and a dead link fails it."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import instance_seg_ros

pytest.importorskip("zensical", reason="the site's generator has no wheels for Python 3.10")

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "site.py"


@pytest.fixture(scope="module")
def site() -> ModuleType:
    """scripts/site.py, whose name is that of a module of Python's own."""
    spec = importlib.util.spec_from_file_location("documentation_site", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(site: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    out = tmp_path_factory.mktemp("out")
    site.write_source(out)
    result = site.build(out)
    assert result.returncode == 0, result.stdout
    return out / site.SITE


def test_every_page_and_every_linked_file_is_there(site: ModuleType, built: Path) -> None:
    pages = site.pages()
    assert {"index.md", "contributing.md", "source/msg/Grasp.msg.md", "source/instance_seg_ros/core/index.md"} <= set(
        pages
    )
    assert [page for page in pages if not (built / page).with_suffix(".html").is_file()] == []


def test_the_reference_has_every_public_name(built: Path) -> None:
    html = (built / "python_api.html").read_text()
    documented = set(re.findall(r'id="instance_seg_ros\.(\w+)"', html))
    assert documented == set(instance_seg_ros.__all__)
    assert (instance_seg_ros.RgbdFrame.__doc__ or "").partition("\n")[0] in html, "the docstrings are missing"


def test_every_page_of_the_documentation_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    for path in (ROOT / "docs").rglob("*.md"):
        assert f": {path.relative_to(ROOT / 'docs')}\n" in navigation, path.name


@pytest.mark.parametrize(
    ("link", "cause"),
    [
        ("[there](there.md)", None),
        ("[there](nowhere.md)", "page does not exist"),
        ("[there](there.md#no)", "anchor does not exist"),
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(
    site: ModuleType, tmp_path: Path, link: str, cause: str | None
) -> None:
    (tmp_path / site.SOURCE).mkdir()
    (tmp_path / site.SOURCE / "index.md").write_text(f"# Start\n\n{link}\n")
    (tmp_path / site.SOURCE / "there.md").write_text("# There\n")
    (tmp_path / site.SETTINGS).write_text((ROOT / site.SETTINGS).read_text().partition("\nnav:\n")[0])
    result = site.build(tmp_path)
    assert (result.returncode == 0) is (cause is None), result.stdout
    assert cause is None or cause in result.stdout


def test_a_link_to_a_file_that_is_not_there_names_both(site: ModuleType) -> None:
    with pytest.raises(ValueError, match="architecture.md links to ../nowhere.py, but there is no nowhere.py"):
        site.turned("architecture.md", "[x](../nowhere.py)")


def test_links_in_code_are_left_alone(site: ModuleType) -> None:
    code = "```\n[x](../setup.py)\n```\n"
    assert site.turned("architecture.md", code) == code
    assert site.turned("architecture.md", "[x](../setup.py#L3)") == "[x](source/setup.py.md#L3)"
    assert site.turned("index.md", "[x](docs/training.md)") == "[x](training.md)"
