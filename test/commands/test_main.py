from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from instance_seg_ros import __version__
from instance_seg_ros.commands import main
from instance_seg_ros.commands.models import lines_of
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.parameters import stages
from instance_seg_ros.core.settings import fields_of
from instance_seg_ros.files.captures import write_capture, write_image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process: exit status, output, errors."""

    def run(*words: object) -> tuple[int, str, str]:
        try:
            status = main.main([str(word) for word in words])
        except SystemExit as stop:  # argparse ends --help and usage errors so
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def capture(tmp_path: Path, make_frame: Callable[..., RgbdFrame]) -> Path:
    write_capture(tmp_path / "capture", make_frame())
    return tmp_path / "capture"


def fresh_python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)


def test_help_lists_every_command_and_teaches_by_example(run: Callable) -> None:
    status, out, _ = run("--help")
    assert status == 0
    for name, command in main.COMMANDS.items():
        assert name in out
        assert command.summary in out
    assert "instance-seg segment --color color.png --depth depth.png --camera meta.json --out results" in out


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from instance_seg_ros.commands import main; main.build_parser(None); "
        "heavy = ('numpy', 'numba', 'scipy', 'cv2', 'onnxruntime', 'torch', 'rosbags'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    assert fresh_python("-c", program).stdout.strip() == "[]"


def test_help_is_quick() -> None:
    def cpu_seconds(*words: str) -> float:
        before = os.times()
        fresh_python(*words)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # Against Python's own start, in CPU time, since the machine may be busy.
    assert cpu_seconds("-m", "instance_seg_ros.commands.main", "--help") < cpu_seconds("-c", "import argparse") + 0.25


def test_every_commands_module_keeps_the_contract() -> None:
    for command in main.COMMANDS.values():
        module = importlib.import_module(command.module)
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        assert callable(module.run)


@pytest.mark.parametrize("name", ["segment", "bag", "models"])
def test_the_help_of_a_command_shows_its_options(run: Callable, name: str) -> None:
    status, out, _ = run(name, "--help")
    assert status == 0
    assert "usage: instance-seg " + name in out


@pytest.mark.parametrize("option", ["--help", "--help-all"])
def test_every_setting_of_the_pipeline_is_an_option_that_both_helps_name(run: Callable, option: str) -> None:
    _, out, _ = run("segment", option)
    for stage, settings_type in stages().items():
        for setting in fields_of(settings_type):
            assert f"--{stage}-{setting.name.replace('_', '-')}" in out


def test_help_leaves_the_meaning_of_settings_to_help_all(run: Callable) -> None:
    short, full = (" ".join(run("segment", option)[1].split()) for option in ("--help", "--help-all"))
    for text in ("--out DIR folder for the results", "prompts: only what", "--help-all explain", "examples:"):
        assert text in short and text in full
    assert "Range: " not in short and "--lifting-min-points N An instance with fewer usable points" in full


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["segment", "--griper-max-opening", "5"],
            "--griper-max-opening (did you mean --gripper-max-opening-m?), 5; `",
        ),
        (["segment", "--colour=a.png"], "--colour=a.png (did you mean --color?); `"),
        (["segment", "--my-out", "x"], "--my-out (did you mean --out?), x; `"),
        (["segment", "color.png"], "segment does not know color.png; `instance-seg segment --help` lists"),
        (["version", "now"], "version does not know now"),
    ],
)
def test_words_that_a_command_does_not_know_are_told_with_what_was_meant(
    run: Callable, tmp_path: Path, words: list[str], message: str
) -> None:
    more = ["--depth", "d.png", "--camera", "m.json", "--out", tmp_path / "out"] if words[0] == "segment" else []
    status, _, err = run(*words, *more)
    assert status == 2
    assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["segment", "--capture", "captures", "--ot", "x"], "segment does not know --ot (did you mean --out?); `"),
        (["bag", "recording", "--output=x"], "bag does not know --output=x (did you mean --out?); `"),
    ],
)
def test_a_misspelt_option_is_told_before_what_is_missing_because_of_it(
    run: Callable, words: list[str], message: str
) -> None:
    status, _, err = run(*words)
    assert (status, message in err, "required" in err) == (2, True, False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--versoin", "segment"],
            "instance-seg does not know --versoin (did you mean --version?); `instance-seg --help`",
        ),
        (["--versoin"], "instance-seg does not know --versoin (did you mean --version?); `instance-seg --help`"),
        (["--out", "x", "segment"], "instance-seg does not know --out; `instance-seg --help` lists"),
        (["segmnt", "--help"], "there is no command segmnt (did you mean segment?); `instance-seg --help` lists"),
        (["bags"], "there is no command bags (did you mean bag?); `"),
        (["fly", "--ot", "x"], "there is no command fly; `"),
    ],
)
def test_what_stands_before_the_options_of_a_command_is_held_against_the_program(
    run: Callable, words: list[str], message: str
) -> None:
    status, _, err = run(*words)
    assert (status, message in err) == (2, True), err


@pytest.mark.parametrize("words", [["--vers"], ["--version", "segmnt"]])
def test_a_shortened_option_of_the_program_is_known(run: Callable, words: list[str]) -> None:
    assert run(*words)[0] == 0


def test_a_shortened_option_is_known(run: Callable) -> None:
    assert "the following arguments are required: --out" in run("segment", "--cap", "captures")[2]


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version_is_told(run: Callable, word: str) -> None:
    assert run(word)[:2] == (0, f"instance-seg {__version__}\n")


def test_segment_writes_the_results_and_prints_a_table(
    run: Callable, capture: Path, tmp_path: Path, block_model_path: Path
) -> None:
    out = tmp_path / "results"
    status, shown, _ = run(
        "segment",
        "--color", capture / "color.png",
        "--depth", capture / "depth.png",
        "--camera", capture / "meta.json",
        "--model", block_model_path,
        "--out", out,
    )  # fmt: skip
    assert status == 0
    assert {path.name for path in out.iterdir()} == {"instances.json", "labels.png", "overlay.png", "scene.ply"}
    document = json.loads((out / "instances.json").read_text())
    assert [instance["class"] for instance in document["instances"]] == ["block", "block"]
    assert document["instances"][0]["surface_centroid_m"][2] == pytest.approx(0.7, abs=0.002)
    ids = [instance["track_id"] for instance in document["instances"]]
    assert re.findall(r"^ +(\d+) +#(\d+) +block ", shown, re.MULTILINE) == [("1", str(ids[0])), ("2", str(ids[1]))]
    for word in (
        "class",
        "score",
        "distance m",
        "size cm",
        "grasps",
        "block",
        "model blocks 1",
        "ONNX Runtime",
        "color.png: 2 objects, depth 0.",
        str(out),
    ):
        assert word in shown


@pytest.mark.parametrize("factor", [1, 2])
def test_segment_warns_of_intrinsics_of_another_resolution(
    run: Callable, capture: Path, tmp_path: Path, block_model_path: Path, factor: int
) -> None:
    meta = json.loads((capture / "meta.json").read_text())
    for key in ("fx", "fy", "cx", "cy"):
        meta[key] *= factor
    (capture / "meta.json").write_text(json.dumps(meta))  # which names its size, as that of a crop may
    status, shown, _ = run("segment", "--capture", capture, "--model", block_model_path, "--out", tmp_path / "out")
    assert status == 0
    assert ("warning: cx" in shown and "of another resolution" in shown) is (factor == 2)


def test_segment_does_without_colour(run: Callable, capture: Path, tmp_path: Path, block_model_path: Path) -> None:
    files = ("--depth", capture / "depth.png", "--camera", capture / "meta.json")
    assert run("segment", *files, "--model", block_model_path, "--out", tmp_path / "results")[0] == 0


def test_a_place_that_cannot_be_written_to_is_told_before_a_model_is_loaded(
    run: Callable, capture: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").touch()
    status, shown, told = run("segment", "--capture", capture, "--model", "absent.onnx", "--out", tmp_path / "out")
    assert (status, shown) == (2, "")
    assert f"--out {tmp_path / 'out'} is no folder" in told


def test_segment_cuts_out_what_is_in_a_rectangle_alone(
    run: Callable, capture: Path, tmp_path: Path, block_model_path: Path
) -> None:
    options = ("--capture", capture, "--model", block_model_path, "--out", tmp_path / "out")
    status, shown, _ = run("segment", *options, "--box", "80,30,140,75", "--box", "0,0,15,25")
    assert status == 0
    (instance,) = json.loads((tmp_path / "out" / "instances.json").read_text())["instances"]
    assert (instance["class"], instance["score"]) == ("object", 1.0)
    assert np.abs(np.array(instance["bbox_xyxy"]) - (90, 40, 130, 70)).max() <= 1
    assert "1 objects" in shown


@pytest.mark.parametrize("box", ["140,75,80,30", "80,30,80,75", "80,30,140,30"])
def test_a_rectangle_without_a_pixel_is_refused(run: Callable, capture: Path, tmp_path: Path, box: str) -> None:
    status, _, told = run("segment", "--capture", capture, "--out", tmp_path / "out", "--box", box)
    assert status == 2
    assert f"--box {box} holds no pixel" in told


def test_segment_asks_models_of_transformers_from_folders(
    run: Callable, capture: Path, tmp_path: Path, block_model_path: Path, folders: ModuleType
) -> None:
    for name, save in (("sam2", folders.save_promptable), ("owlv2", folders.save_detector)):
        (tmp_path / name).mkdir()
        save(name, tmp_path / name)
    options = ("--capture", capture, "--model", block_model_path, "--out", tmp_path / "out")
    models = (
        *("--segmentation-prompt-model-path", tmp_path / "sam2"),
        *("--segmentation-text-model-path", tmp_path / "owlv2"),
    )
    status, _, _ = run("segment", *options, *models, "--point", "40,50", "--text", "red mug, cup")
    assert status == 0
    document = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert document["instances"]
    assert {instance["class"] for instance in document["instances"]} <= {"object", "red mug", "cup"}


@pytest.mark.parametrize(
    ("option", "text"), [("--point", "3,inf"), ("--point", "3"), ("--box", "3,4,5"), ("--box", "a")]
)
def test_a_prompt_that_is_no_place_is_refused(run: Callable, option: str, text: str) -> None:
    status, _, err = run("segment", "--out", "out", "--capture", "capture", option, text)
    assert (status, f"'{text}' is not " in err) == (2, True)


def test_segment_takes_a_folder_of_captures(
    run: Callable, tmp_path: Path, block_model_path: Path, make_frame: Callable[..., RgbdFrame]
) -> None:
    for name in ("one", "two"):
        write_capture(tmp_path / "captures" / name, make_frame())
    status, shown, _ = run(
        "segment", "--capture", tmp_path / "captures", "--model", block_model_path, "--out", tmp_path / "out"
    )
    assert status == 0
    assert "one: 2 objects" in shown
    assert (tmp_path / "out" / "two" / "instances.json").is_file()


def test_a_setting_reaches_its_stage(run: Callable, capture: Path, tmp_path: Path, block_model_path: Path) -> None:
    options = ("--capture", capture, "--model", block_model_path, "--out", tmp_path / "out")
    assert run("segment", *options, "--no-grasping-enabled", "--segmentation-max-instances", 1)[0] == 0
    (instance,) = json.loads((tmp_path / "out" / "instances.json").read_text())["instances"]
    assert "grasping_disabled" in instance["status"]


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["segment", "--out", "out"], "--depth and --camera missing; or give --capture DIR"),
        (["segment", "--out", "out", "--depth", "d.png"], "--camera missing"),
        (
            ["segment", "--out", "out", "--capture", "capture", "--point", "3,4"],
            "give --segmentation-prompt-model-path",
        ),
        (["segment", "--out", "out", "--capture", "capture", "--text", "cup"], "give --segmentation-text-model-path"),
        (["segment", "--out", "out", "--capture", "capture", "--text", " , "], "--text ' , ' holds no word"),
        (
            ["segment", "--out", "out", "--capture", "capture", "--segmentation-prompt-model-path", "nowhere/at/all"],
            "it has no config.json",
        ),
        (["segment", "--out", "out", "--capture", "c", "--depth", "d.png"], "not both (--depth)"),
        (["segment", "--out", "out", "--depth", "nowhere.png", "--camera", "m.json"], "m.json does not exist"),
        (["segment", "--out", "out", "--capture", "nowhere"], "nowhere is not a folder"),
        (
            ["segment", "--out", "out", "--capture", "capture", "--lifting-min-points", "2"],
            "lifting settings: min_points must be between 10 and 100000, not 2",
        ),
        (["segment", "--out", "out", "--capture", "capture", "--model", "nowhere.onnx"], "nowhere.onnx"),
        (["segment", "--out", "out", "--capture", "capture", "--model", "capture/meta.json"], "is no ONNX file"),
        (["bag", "nowhere", "--out", "out"], "nowhere does not exist"),
        (["bag", "capture", "--out", "out"], "capture is no rosbag2: it holds no metadata.yaml; give the folder"),
        (["bag", "capture/depth.png", "--out", "out"], "depth.png is no rosbag2: give a folder, or a file .mcap or"),
        (["bag", "nowhere", "--out", "capture"], "capture exists already; give --out a folder that does not"),
        *(
            (
                [*command, "--segmentation-text-model-path", "a/b", "--segmentation-prompt-model-path", "a/b"],
                "--segmentation-prompt-model-path, --segmentation-text-model-path cannot be used with",
            )
            for command in (["bench"], ["bag", "nowhere", "--out", "out"], ["grasp-sim", "--out", "out"])
        ),
        (["models", "nowhere.onnx"], "nowhere.onnx"),
        (["export", "--checkpoint", "nowhere.pt", "--out", "out"], "error: nowhere.pt: No such file or directory"),
        (["models", "checkpoint.pt"], "is a checkpoint and no model file; `instance-seg export --checkpoint"),
        (
            ["models", "checkpoint.pt"],
            "makes one of what `instance-seg train` or `import-weights` (of AdelaiDet's CondInst)",
        ),
        (["synth", "--frames", "8"], "give --out DIR for a scene store, --preview IMAGE for a look, or both"),
        (["synth", "--out", "out", "--frames", "0"], "frames must be between 1 and 10000000, not 0"),
        (["synth", "--out", "out", "--families", "unicorn"], "no object family unicorn; there are box, "),
        (["eval", "--data", "capture", "--max-instances", "0"], "max_instances must be between 1 and 1000, not 0"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    run: Callable,
    capture: Path,
    block_model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    cause: str,
) -> None:
    monkeypatch.chdir(capture.parent)
    Path("checkpoint.pt").write_bytes(b"PK\x03\x04")
    takes_none = "--model" in words or words[0] in ("models", "synth", "export")
    with_model = [] if takes_none else ["--model", str(block_model_path)]
    status, _, err = run(*words, *with_model)
    assert status == 2
    assert err.startswith("instance-seg: error: ")
    assert cause in err
    assert err.count("\n") == 1
    assert not Path("out").exists()


def test_an_error_of_the_system_names_the_file_that_was_meant(
    run: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()

    def replace_a_folder(args: argparse.Namespace) -> int:
        (tmp_path / ".unfinished").write_text("")
        os.replace(tmp_path / ".unfinished", tmp_path / "taken")
        return 0

    monkeypatch.setattr("instance_seg_ros.commands.models.run", replace_a_folder)
    assert run("models")[2] == f"instance-seg: error: {tmp_path / 'taken'}: Is a directory\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as output:
        command = [sys.executable, "-m", "instance_seg_ros.commands.main", "version"]
        done = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.PIPE, text=True)
    assert done.stderr == ""
    assert done.returncode == main.EXIT_BROKEN_PIPE


@pytest.mark.parametrize(
    "words",
    [[], ["segment"], ["bag", "in", "--out", "out", "--max-frames", "0"]],
)
def test_wrong_usage_is_status_2(run: Callable, words: list[str]) -> None:
    status, _, err = run(*words)
    assert status == 2
    assert "usage: instance-seg" in err


@pytest.mark.parametrize(
    ("option", "value", "cause"),
    [
        ("--max-frames", "0", "'0' is not a whole number of at least 1"),
        ("--max-frames", "few", "'few' is not a whole number of at least 1"),
        ("--tolerance-s", "-0.1", "'-0.1' is not a time of 0 seconds or more"),
        ("--tolerance-s", "nan", "'nan' is not a time of 0 seconds or more"),
        ("--tolerance-s", "soon", "'soon' is not a time of 0 seconds or more"),
    ],
)
def test_an_option_of_bag_with_no_meaning_is_refused_with_its_cause(
    run: Callable, option: str, value: str, cause: str
) -> None:
    status, _, err = run("bag", "in", "--out", "out", f"{option}={value}")
    assert status == 2
    assert err.endswith(f"argument {option}: {cause}\n")


def test_a_missing_extra_names_the_cure(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        main.COMMANDS, "train", main.Command("instance_seg_ros_test_needs_torch", "train a network", "train")
    )

    def no_torch(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(main.importlib, "import_module", no_torch)
    status, _, err = run("train", "--store", "somewhere")
    assert status == 2
    assert err == (
        "instance-seg: error: 'train' needs the module torch, which is not installed; "
        "in a clone, pip install '.[train]' or `make setup`\n"
    )


def test_a_missing_module_of_the_core_is_named_with_its_package(
    run: Callable, capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.delitem(sys.modules, "instance_seg_ros.commands.bag", raising=False)
    _, _, err = run("bag", capture, "--out", tmp_path / "out")
    assert err == "instance-seg: error: 'bag' needs the module tqdm, which is not installed; pip install tqdm\n"


def test_a_rerun_recording_is_refused_before_the_model_is_loaded_where_rerun_is_missing(
    run: Callable, capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    options = ("--out", tmp_path / "out", "--rrd", tmp_path / "scenes.rrd", "--model", "nowhere.onnx")
    _, _, err = run("segment", "--capture", capture, *options)
    assert "--rrd needs the module rerun, which is not installed; pip install rerun-sdk" in err


def test_eval_misses_what_the_report_needs_before_it_loads_the_model(
    run: Callable, capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(capture / "labels.png", np.ones((120, 160), np.uint16))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    _, _, err = run("eval", "--data", capture, "--out", tmp_path / "report", "--model", "nowhere.onnx")
    assert "'eval' needs the module matplotlib" in err


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError(
            "cannot import name 'gone' from 'instance_seg_ros.core.camera'", name="instance_seg_ros.core.camera"
        )

    monkeypatch.setattr(main.importlib, "import_module", broken)
    with pytest.raises(ImportError, match="gone"):
        main.main(["segment", "--help"])


def test_models_tells_what_a_file_says_of_itself(run: Callable, block_model_path: Path) -> None:
    status, out, _ = run("models", block_model_path)
    assert status == 0
    for word in ("blocks 1", "classes", "block", "score threshold", "0.5", "digest"):
        assert word in out


def test_models_shows_what_a_model_takes_and_was_made_of_line_by_line(run: Callable) -> None:
    _, out, _ = run("models")
    assert re.search(r"^input +depth_m: float32 \[H, W\], metres", out, re.MULTILINE)
    assert re.search(r"^trained on +steps: \d+$", out, re.MULTILINE)
    names = re.findall(r"^name +(.*)$", out, re.MULTILINE)
    assert names[0] == "tabletop_rgbd 2 (the default)"
    assert "tabletop_rgbd 2 (in 8 bits)" in names
    assert "{" not in out


def test_inspecting_tells_the_family_of_a_file_and_how_it_is_fed(
    run: Callable, family_model_path: Callable[[str], Path]
) -> None:
    status, out, _ = run("models", "inspect", family_model_path("yolo-seg"))
    assert status == 0
    for fact in (
        r"^output +output0 float32 \[1, 7, 12\]$",
        r"^yolo-seg +fits: detections is output0, prototypes is output1$",
        r"^yolo-seg-end2end +no: rows of 12 numbers are not a box",
        r"^detr +no: logits float \[1, Q, C\], pred_boxes float",
        r"^read as +YOLOv8-seg",
        r"^image +160x128 with 114 beside the image by letterbox, rgb, pixel x 0.003922",
        r"^classes +block \(the file's metadata\)$",
    ):
        assert re.search(fact, out, re.MULTILINE), fact


def test_inspecting_a_file_that_cannot_be_used_says_what_is_missing(
    run: Callable, family_model_path: Callable[[str], Path], block_model_path: Path
) -> None:
    path = family_model_path("yolo-seg-end2end")
    path.with_suffix(".yaml").write_text("family: detr\n")
    status, out, _ = run("models", "inspect", path)
    assert (status, "cannot be used" in out) == (1, True)
    assert run("models", "inspect")[2].endswith("inspect needs a file: instance-seg models inspect FILE\n")
    assert "is this project's own" in run("models", "inspect", block_model_path)[1]


def test_inspecting_a_folder_tells_what_it_answers(run: Callable, tmp_path: Path, folders: ModuleType) -> None:
    for name, save, answers in (
        ("sam2", folders.save_promptable, "points and rectangles: segmentation.prompt_model_path"),
        ("owlv2", folders.save_detector, "words: segmentation.text_model_path"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        save(name, folder)
        status, out, _ = run("models", "inspect", folder)
        assert status == 0
        assert re.search(rf"^model type +{name}$", out, re.MULTILINE)
        assert answers in out
    (tmp_path / "owlv2" / "tokenizer.json").unlink()
    (tmp_path / "owlv2" / "vocab.json").unlink()
    status, out, _ = run("models", "inspect", tmp_path / "owlv2")
    assert (status, "has no tokenizer" in out) == (1, True)


def test_inspecting_weights_that_cannot_be_loaded_tells_why(run: Callable, tmp_path: Path) -> None:
    """Of torchvision, where it is missing, or of what the file lacks."""
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"short")
    status, out, _ = run("models", "inspect", path)
    assert status == 1
    assert re.search(
        r"^cannot be used +.*mine.safetensors is (loaded by torchvision|no safetensors)", out, re.MULTILINE
    )


def test_facts_of_a_model_are_lines_without_what_is_not_known() -> None:
    facts = {"steps": 3, "store_seed": None, "agreement": {"instances": 193, "mean_iou": 0.99031}}
    assert lines_of(facts) == ["steps: 3", "agreement: instances 193, mean_iou 0.9903"]
