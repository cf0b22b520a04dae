"""Builds the documentation as one site in out/site: `make docs`. A link that leads nowhere is an error.

In the repository, pages link to each other and to source files by relative paths, which every viewer of Git follows.
The site is built from a copy of docs/, to which README.md, CONTRIBUTING.md and CHANGELOG.md are added, and a page for
every file and folder that some page links to. Links are turned to these pages. All settings are in mkdocs.yml.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"
SETTINGS = "mkdocs.yml"
SOURCE, SITE = "site_source", "site"
"""Folders of the pages and of the built site, beside the copy of mkdocs.yml that names them."""

_PAGE_OF_FILE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_FILE_OF_PAGE = {page: file for file, page in _PAGE_OF_FILE.items()}
_SHOWN = "source"
"""Folder of the pages that show files and folders."""
_LANGUAGES = {
    ".py": "python",
    ".cpp": "cpp",
    ".txt": "cmake",
    ".xml": "xml",
    ".yaml": "yaml",
    ".msg": "ini",  # the nearest that there is: comments, names and constants
    ".srv": "ini",
}
_FENCE = re.compile(r"^(`{3,}).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def pages() -> dict[str, str]:
    """The text of every page by its path in the site's source, links turned.

    Raises:
        ValueError: naming the page and its link that leads nowhere.
    """
    texts = {path.relative_to(ROOT / DOCS).as_posix(): path.read_text() for path in (ROOT / DOCS).rglob("*.md")}
    texts |= {page: (ROOT / name).read_text() for name, page in _PAGE_OF_FILE.items()}
    waiting = [path for page, text in texts.items() for path in _linked(page, text)]
    while waiting:
        path = waiting.pop()
        page = _page_of(path)
        if page not in texts:
            texts[page] = _listing(path) if (ROOT / path).is_dir() else _code(path)
            waiting += _linked(page, texts[page])
    return {page: turned(page, text) for page, text in texts.items()}


def write_source(out: Path) -> None:
    """Writes all that the site is built from into a folder, in place of what is there."""
    source = out / SOURCE
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / DOCS, source)
    for page, text in pages().items():
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        (source / page).write_text(text)
    shutil.copy(ROOT / SETTINGS, out)


def build(out: Path) -> subprocess.CompletedProcess[str]:
    """Builds the site from what `write_source` wrote; warnings, such as of links that lead nowhere, are errors."""
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(out / SETTINGS)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # where mkdocstrings looks for the package
    return subprocess.run(
        command, cwd=out, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def turned(page: str, markdown: str) -> str:
    """The page with its links to files of the repository turned into links to their pages."""

    def link(match: re.Match[str]) -> str:
        path = _path_of(page, match["target"])
        if path is None:
            return match[0]
        return f"]({os.path.relpath(_page_of(path), os.path.dirname(page) or '.')}{match['anchor'] or ''})"

    return "".join(text if is_code else _LINK.sub(link, text) for is_code, text in _parts(markdown))


def _parts(markdown: str) -> Iterator[tuple[bool, str]]:
    """The text in its order as (is it a fenced block of code, text)."""
    end = 0
    for match in _FENCE.finditer(markdown):
        yield False, markdown[end : match.start()]
        yield True, match[0]
        end = match.end()
    yield False, markdown[end:]


def _linked(page: str, markdown: str) -> Iterator[str]:
    """The files and folders of the repository outside docs/ that a page links to."""
    for is_code, text in _parts(markdown):
        for match in [] if is_code else _LINK.finditer(text):
            path = _path_of(page, match["target"])
            if path is not None and not path.startswith(f"{DOCS}/"):
                yield path


def _path_of(page: str, target: str) -> str | None:
    """What a page links to, relative to the repository; None for other sites."""
    if "://" in target or target.startswith("mailto:"):
        return None
    if page in _FILE_OF_PAGE:
        folder = PurePosixPath()
    elif page.startswith(f"{_SHOWN}/"):
        folder = PurePosixPath(page).parent.relative_to(_SHOWN)
    else:
        folder = PurePosixPath(DOCS, page).parent
    path = os.path.normpath(folder / target)
    if path.startswith("..") or not (ROOT / path).exists():
        raise ValueError(f"{page} links to {target}, but there is no {path}")
    return path


def _page_of(path: str) -> str:
    """The page of a file or folder of the repository; of what is in docs/, that file itself."""
    if path in _PAGE_OF_FILE:
        return _PAGE_OF_FILE[path]
    if path.startswith(f"{DOCS}/"):
        return path.removeprefix(f"{DOCS}/")
    return f"{_SHOWN}/{path}/index.md" if (ROOT / path).is_dir() else f"{_SHOWN}/{path}.md"


def _code(path: str) -> str:
    """A page that shows a text file."""
    text = (ROOT / path).read_text()
    fence = "`" * (1 + max([2, *(len(ticks) for ticks in re.findall(r"`+", text))]))
    language = _LANGUAGES.get(PurePosixPath(path).suffix, "text")
    return f"{_front(path)}\n{fence} {language}\n{text.rstrip()}\n{fence}\n"


def _listing(path: str) -> str:
    """A page that lists a folder, each module with what its docstring says it is."""
    entries = [
        entry
        for entry in sorted((ROOT / path).iterdir(), key=lambda entry: (entry.is_file(), entry.name))
        if entry.name[0] not in "._" and (entry.is_dir() or entry.suffix in _LANGUAGES)
    ]
    rows = [f"| [{_name(entry)}]({_name(entry)}) | {_summary(entry)} |" for entry in entries]
    return "\n".join([_front(path), _summary(ROOT / path), "", "| file | what it is |", "| --- | --- |", *rows, ""])


def _name(entry: Path) -> str:
    return f"{entry.name}/" if entry.is_dir() else entry.name


def _front(path: str) -> str:
    """The head of a page that shows a file; the search leaves such pages out."""
    return f"---\ntitle: {PurePosixPath(path).name}\nsearch:\n  exclude: true\n---\n\n# `{path}`\n"


def _summary(entry: Path) -> str:
    """The first paragraph of a module's or a package's docstring; empty for other files."""
    module = entry / "__init__.py" if entry.is_dir() else entry
    if module.suffix != ".py" or not module.is_file():
        return ""
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def main() -> int:
    """Builds the site; returns the exit status."""
    out = ROOT / "out"
    out.mkdir(exist_ok=True)
    try:
        write_source(out)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    result = build(out)
    print(result.stdout, end="")
    print("the site has errors" if result.returncode else f"open {out / SITE / 'index.html'}")
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())
