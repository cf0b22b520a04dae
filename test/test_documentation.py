"""README and docs/ stay in step with the code, and name nothing that is not there."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from instance_seg_ros.commands.main import COMMANDS, build_parser
from instance_seg_ros.core.arguments import CommandParser, from_arguments
from instance_seg_ros.learning.training.settings import TrainingSettings

ROOT = Path(__file__).resolve().parents[1]


def test_every_generated_part_is_in_step_with_the_code(documentation: ModuleType) -> None:
    for path in documentation.documents():
        text = path.read_text()
        assert documentation.rendered(text) == text, f"{path.name} is stale; run python scripts/documentation.py"


def test_every_part_is_shown_once(documentation: ModuleType) -> None:
    text = "".join(path.read_text() for path in documentation.documents())
    for name in (*documentation.PARTS, "file examples/planner.py", "file examples/segment_frame.py"):
        assert text.count(f"<!-- {name}:begin -->") == 1


def test_every_parameter_is_in_the_table(documentation: ModuleType) -> None:
    table = documentation.parameters_table()
    for name in ("sync_tolerance_s", "lifting.min_points", "gripper.max_opening_m", "grasping.closing_axis"):
        assert f"| `{name}` |" in table


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("<!-- parameters:begin -->\n", "lacks its begin or its end"),
        ("<!-- parameters:end -->\n", "lacks its begin or its end"),
        ("<!-- weather:begin -->\n<!-- weather:end -->", "no part is named 'weather'"),
        ("<!-- file nowhere.py:begin -->\n<!-- file nowhere.py:end -->", "no part is named 'file nowhere.py'"),
    ],
)
def test_a_marker_that_cannot_be_filled_is_an_error(documentation: ModuleType, text: str, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        documentation.rendered(text)


def test_a_stale_part_is_made_anew_and_the_rest_is_kept(documentation: ModuleType) -> None:
    text = "before\n<!-- commands:begin -->\nold\n<!-- commands:end -->\nafter\n"
    new = documentation.rendered(text)
    assert new.startswith("before\n<!-- commands:begin -->\n| command |")
    assert new.endswith("|\n<!-- commands:end -->\nafter\n")
    assert "old" not in new
    assert documentation.rendered(new) == new


def test_links_lead_to_files(documentation: ModuleType) -> None:
    for path in documentation.documents():
        prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", prose):
            assert "://" in target or (path.parent / target).exists(), f"{path.name} links to {target}"


def test_python_files_that_pages_name_are_there(documentation: ModuleType) -> None:
    names = {
        path.name
        for folder in ("instance_seg_ros", "test", "scripts", "examples")
        for path in (ROOT / folder).rglob("*.py")
    }
    for path in documentation.documents():
        for name in re.findall(r"`(?:[\w./]*/)?(\w+\.py)`", path.read_text()):
            assert name in names | {"setup.py", "conftest.py"}, f"{path.name} names {name}"


def test_links_to_headings_lead_to_headings(documentation: ModuleType) -> None:
    for path in documentation.documents():
        prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for target, anchor in re.findall(r"\]\(([^):#]*)#([^)]+)\)", prose):
            headings = re.findall(r"^#+ (.+)$", (path.parent / target if target else path).read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{path.name} links to {target}#{anchor}"


def test_commands_in_the_documentation_exist(documentation: ModuleType) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in documentation.documents():
        code = "\n".join(re.findall(r"```(?:bash|console|sh)\n(.*?)```", path.read_text(), re.DOTALL))
        for command in re.findall(r"^\s*instance-seg ([a-z-]+)", code, re.MULTILINE):
            assert command in {*COMMANDS, "version", "--help"}
        for target in re.findall(r"^\s*make ([a-z-]+)", code, re.MULTILINE):
            assert target in targets


def test_launch_arguments_in_the_documentation_exist(documentation: ModuleType) -> None:
    for path in documentation.documents():
        text = path.read_text().replace("\\\n", " ")
        for file, arguments in re.findall(r"ros2 launch instance_seg_ros (\S+\.launch\.py)([^\n`]*)", text):
            launch_file = (ROOT / "launch" / file).read_text()
            for argument in re.findall(r"(\w+):=", arguments):
                assert f'"{argument}"' in launch_file, f"{path.name}: {file} has no argument {argument}"


def test_the_profiles_of_fast_dds_and_cyclone_dds_lie_where_the_readme_says() -> None:
    paths = re.findall(r"instance_seg_ros as p; print\(p.__path__\[0\]\)'\)(/\S+)", (ROOT / "README.md").read_text())
    assert [Path(path).name for path in paths] == ["fastdds_images.xml", "cyclonedds_images.xml"]
    for path in paths:
        assert (ROOT / "instance_seg_ros" / path.lstrip("/")).is_file()


def test_options_in_the_documentation_exist(documentation: ModuleType) -> None:
    options_of = {name: options_of_command(name) for name in COMMANDS}
    for path in documentation.documents():
        text = re.sub(r"\\\n\s*", " ", path.read_text())
        for name, arguments in re.findall(
            r"(?:instance-seg|instance_seg_ros\.commands\.main) ([a-z-]+)([^\n`]*)", text
        ):
            for option in re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", arguments):
                assert name in COMMANDS, f"{path.name}: there is no command {name}"
                assert option in options_of[name], f"{path.name}: {name} has no option {option}"


def shown_commands(text: str) -> list[list[str]]:
    """The words of every `instance-seg` command line that a page shows, in a block of code, to be run as it stands."""
    blocks = re.findall(r"```(?:bash|console|sh)\n(.*?)```", text, re.DOTALL)
    blocks += re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines = [line for line in lines if re.match(r"\s*instance-seg [a-z-]+ ", line) and "$" not in line]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_commands_in_the_documentation_are_complete(documentation: ModuleType) -> None:
    shown = [(path.name, words) for path in documentation.documents() for words in shown_commands(path.read_text())]
    assert {words[0] for _, words in shown} >= {"segment", "bag", "train", "export", "eval", "synth", "bench"}
    for page, words in shown:
        try:
            args = build_parser(words[0]).parse_args(words)
            if words[0] == "train":  # says how long only by one of two options
                from_arguments(args, TrainingSettings)
        except Exception as error:
            pytest.fail(f"{page} shows `instance-seg {' '.join(words)}`: {error}")


def options_of_command(name: str) -> set[str]:
    parser = CommandParser()
    importlib.import_module(COMMANDS[name].module).add_arguments(parser)
    return {option for action in parser._actions for option in action.option_strings}
