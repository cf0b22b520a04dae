"""What packages this project: versions, the installed core, the independence from ROS, the interfaces and the shell."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import instance_seg_ros

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "instance_seg_ros"
INTERFACES = sorted([*ROOT.glob("msg/*.msg"), *ROOT.glob("srv/*.srv")])

ROS_FOLDERS = ("ros", "demo")
ROS_MODULES = (
    r"(rclpy|rosidl\w*|rpyutils|ament_\w+|launch\w*|tf2_\w+|cv_bridge|message_filters|\w+_msgs|\w+_interfaces|std_srvs)"
    r"(\.|$)|instance_seg_ros\.(ros|demo|msg|srv)(\.|$)"
)
DEVELOPMENT_MODULES = r"(torch|onnx|mujoco|embreex|trimesh|matplotlib|openvino|pytest|hypothesis)(\.|$)"

IMPORT_WITH_BLOCKED_NAMES = """
import importlib, re, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if re.match(sys.argv[1], name):
            raise AssertionError(f"imports {name}")

sys.meta_path.insert(0, Blocker())
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Each is needed only where its backend is chosen.
        if error.name not in ("tensorrt", "openvino", "torchvision", "transformers", "triton"):
            raise
"""


def core_files() -> list[Path]:
    """Every source file outside the folders that need ROS: the node's and the demo's."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ROS_FOLDERS)


def core_modules() -> list[str]:
    """Every module outside the folders that need ROS, by its dotted name."""
    paths = (path.relative_to(ROOT).with_suffix("") for path in core_files())
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def import_blocking(pattern: str, modules: list[str]) -> None:
    """Import `modules` in a fresh interpreter in which names that match `pattern` cannot be imported."""
    subprocess.run([sys.executable, "-c", IMPORT_WITH_BLOCKED_NAMES, pattern, *modules], cwd=ROOT, check=True)


def test_the_core_imports_no_ros_module() -> None:
    modules = core_modules()
    assert {"instance_seg_ros.pipeline", "instance_seg_ros.commands.main"} <= set(modules)
    import_blocking(ROS_MODULES, modules)


def test_no_statement_of_the_core_imports_a_ros_module() -> None:
    """Also those inside functions, which run only when they are called."""
    named = set()
    for path in core_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                named |= {(path.name, alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                named.add((path.name, node.module or ""))
    assert ("pipeline.py", "instance_seg_ros.lifting") in named
    assert {(file, name) for file, name in named if re.match(ROS_MODULES, name)} == set()


def test_the_blocker_of_ros_modules_blocks_them() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        import_blocking(ROS_MODULES, ["sensor_msgs.msg"])


def test_segmenting_needs_no_development_package() -> None:
    import_blocking(DEVELOPMENT_MODULES, ["instance_seg_ros.pipeline", "instance_seg_ros.commands.main"])


def test_one_version_everywhere() -> None:
    assert ElementTree.parse(ROOT / "package.xml").findtext("version") == instance_seg_ros.__version__
    shown = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert shown.split()[-1] == instance_seg_ros.__version__


def test_both_packages_name_one_licence_and_maintainer() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    shown = subprocess.run(
        [sys.executable, "setup.py", "--license", "--maintainer", "--maintainer-email"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    maintainer = manifest.find("maintainer")
    assert maintainer is not None
    assert shown[-3:] == [manifest.findtext("license"), maintainer.text, maintainer.get("email")]
    assert manifest.findtext("license") == "Apache-2.0"
    assert re.search(r"Apache License\s+Version 2\.0", (ROOT / "LICENSE").read_text())


def test_cmake_builds_every_interface() -> None:
    listed = re.findall(r"^ +((?:msg|srv)/\w+\.(?:msg|srv))$", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)
    assert listed == [str(path.relative_to(ROOT)) for path in INTERFACES]


def test_package_xml_names_every_package_that_cmake_and_the_node_use() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    declared = {element.text for element in manifest if element.tag.endswith("depend")}
    found_by_cmake = set(re.findall(r"find_package\((\w+) REQUIRED\)", (ROOT / "CMakeLists.txt").read_text()))
    sources = "\n".join(path.read_text() for folder in ROS_FOLDERS for path in (PACKAGE / folder).rglob("*.py"))
    imported = set(re.findall(r"^from (\w+)\.(?:msg|srv|action) import", sources, re.MULTILINE))
    assert "sensor_msgs" in imported
    assert found_by_cmake <= declared
    assert imported - {"instance_seg_ros"} <= declared


def test_package_xml_names_what_the_launch_files_import() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    declared = {element.text for element in manifest if element.tag.endswith("depend")}
    sources = "\n".join(path.read_text() for path in (ROOT / "launch").glob("*.py"))
    imported = set(re.findall(r"^from (launch\w*)[. ]", sources, re.MULTILINE))
    assert imported == {"launch", "launch_ros"}
    assert imported <= declared


@pytest.mark.parametrize("path", INTERFACES, ids=lambda path: path.name)
def test_every_field_of_an_interface_has_a_comment_with_its_unit(path: Path) -> None:
    comment: list[str] = []
    fields = 0
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.startswith("#"):
            comment.append(line.lstrip("# "))
        elif not line or line == "---":
            comment.clear()
        else:
            assert re.match(r"[\w/]+(\[\d*\])? \w+(=\d+)?$", line), f"{path.name}:{number}: {line}"
            assert re.search(r"\[[^\]]+\]", " ".join(comment)), f"{path.name}:{number}: {line} has no [unit]"
            comment.clear()
            fields += 1
    assert fields > 0


@pytest.fixture(scope="module")
def installed_core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the core as `pip install .` leaves it, from a copy of the sources, without its dependencies."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "package.xml"):
        shutil.copy(ROOT / name, source)
    for name in ("requirements", "msg", "instance_seg_ros"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True)
    return target


def test_the_installed_core_has_every_module_and_every_file_that_they_read(installed_core: Path) -> None:
    def files(package: Path) -> set[str]:
        found = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
        of_core = (path for path in found if path.parts[0] not in (*ROS_FOLDERS, "interfaces"))
        return {str(path) for path in of_core if "__pycache__" not in path.parts}

    expected = files(PACKAGE)
    assert {Path(name).suffix for name in expected} >= {".py", ".onnx", ".yaml", ".npz", ".typed"}
    assert files(installed_core / "instance_seg_ros") == expected
    interfaces = {path.name for path in (installed_core / "instance_seg_ros" / "interfaces").iterdir()}
    assert {path.name for path in INTERFACES if path.suffix == ".msg"} <= interfaces


def test_the_installed_command_runs(installed_core: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed_core)}
    shown = subprocess.run(
        [sys.executable, installed_core / "bin" / "instance-seg", "--help"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for command in ("segment", "bag", "synth", "train", "eval", "export"):
        assert command in shown


@pytest.mark.skipif(not (ROOT / ".ros" / "install").exists(), reason="the ROS 2 interfaces are not built here")
@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("here", [True, False], ids=["in the root", "elsewhere"])
def test_env_sh_gives_rclpy_the_interfaces_and_the_sources(shell: str, here: bool, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    environment = dict(os.environ)
    if "ROS_DISTRO" not in environment:
        for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "AMENT_PREFIX_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"):
            environment.pop(name, None)
    program = (
        "import rclpy, instance_seg_ros.pipeline as core; from instance_seg_ros.msg import InstanceArray;"
        "from instance_seg_ros.srv import Segment; from rclpy.serialization import serialize_message;"
        "serialize_message(Segment.Response(result=InstanceArray())); print(core.__file__)"
    )
    shown = subprocess.run(
        [shell, "-c", f"set -eu; . '{ROOT}/env.sh'; instance-seg --help >&2; python -c '{program}'"],
        cwd=ROOT if here else tmp_path, env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert Path(shown.strip()) == PACKAGE / "pipeline.py"


@pytest.mark.skipif(not (ROOT / ".ros" / "install").exists(), reason="the ROS 2 interfaces are not built here")
def test_ros2_run_finds_every_executable_and_its_main() -> None:
    pattern = r"^install_executable\(([\w-]+) (instance_seg_ros[\w.]+)\)$"
    listed = re.findall(pattern, (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)
    assert "instance_seg_node" in dict(listed)
    for name, module in listed:
        executable = ROOT / ".ros" / "install" / "instance_seg_ros" / "lib" / "instance_seg_ros" / name
        assert os.access(executable, os.X_OK), name
        assert f"from {module} import main" in executable.read_text()
        assert callable(importlib.import_module(module).main)


@pytest.mark.skipif(not (ROOT / ".ros" / "install").exists(), reason="the ROS 2 interfaces are not built here")
def test_this_process_has_one_package_with_core_and_interfaces() -> None:
    from instance_seg_ros import pipeline
    from instance_seg_ros.core.status import Status
    from instance_seg_ros.msg import Instance

    assert Path(pipeline.__file__) == PACKAGE / "pipeline.py"
    assert Instance.STATUS_NO_COLLISION_FREE_GRASP == Status.NO_COLLISION_FREE_GRASP


def test_the_messages_tell_the_same_codes_as_the_core() -> None:
    from instance_seg_ros.core.status import Status
    from instance_seg_ros.lifting import Completion, Support

    text = (ROOT / "msg" / "Instance.msg").read_text()
    for prefix, enumeration in (("STATUS", Status), ("COMPLETION", Completion), ("SUPPORT", Support)):
        constants = {
            name: int(value) for name, value in re.findall(rf"^uint(?:8|16) {prefix}_(\w+)=(\d+)$", text, re.MULTILINE)
        }
        assert constants == {name: member.value for name, member in enumeration.__members__.items()}


def executables(folder: Path, **scripts: str) -> dict[str, str]:
    """Commands of these names in a folder; returns an environment that finds them first."""
    for name, script in scripts.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PLACE": str(folder)}


@pytest.mark.parametrize(
    ("synth", "has_enough", "train", "status", "commands"),
    [
        ("sleep 60 & wait", 0, 3, 3, ["synth", "train"]),
        ("true", 1, 0, 0, ["synth", "train", "export", "export"]),
        ("exit 4", 1, 0, 4, ["synth"]),
    ],
    ids=["training fails", "all scenes are there at once", "no scenes"],
)
def test_a_model_on_a_gpu_is_made_with_its_scenes_and_leaves_no_process(
    synth: str, has_enough: int, train: int, status: int, commands: list[str], tmp_path: Path
) -> None:
    environment = executables(
        tmp_path,
        # There is a GPU; whether there are scenes, once they were begun.
        python=f"[[ $1 == -c ]] || {{ until [[ -s $PLACE/log ]]; do sleep 0.1; done; sleep 0.3; exit {has_enough}; }}",
        instance_seg=f"echo $1 >>$PLACE/log; case $1 in synth) {synth} ;; train) exit {train} ;; esac",
    )
    # The output ends with the last process that could write to it: one that is left runs into the limit.
    made = subprocess.run(
        [ROOT / "scripts" / "model.sh", tmp_path / "out", "16", "1"],
        env=environment, timeout=20, capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == status
    assert (tmp_path / "log").read_text().split() == commands


def test_the_tests_begin_beside_the_pytest_plugins_of_a_sourced_ros_2(tmp_path: Path) -> None:
    (tmp_path / "of_ros_2.py").write_text("def pytest_pycollect_makemodule(path, parent): pass\n")  # gone from pytest 9
    for plugin in ("launch_testing", "launch_ros", "launch_pytest"):
        metadata = tmp_path / f"{plugin}-3.4.3.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {plugin}\nVersion: 3.4.3\n")
        (metadata / "entry_points.txt").write_text(f"[pytest11]\n{plugin} = of_ros_2\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-n", "0", "test/core/test_arguments.py"]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "")
