"""Where a model lies: paths as they are, names of the hub from the cache or the network, and what is neither."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("huggingface_hub")

import huggingface_hub.constants

from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation import ModelError, default_model_path, load_segmenter, model_location
from instance_seg_ros.segmentation.model_location import located

REVISION = "0123456789abcdef0123456789abcdef01234567"
WHOLE = {"config__json": "{}", "preprocessor_config__json": "{}", "model__safetensors": ""}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def put(cache: Path, name: str, **files: str) -> Path:
    """A snapshot as huggingface_hub lays it down."""
    folder = cache / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(REVISION)
    for file, content in files.items():
        (snapshot / file.replace("__", ".")).write_text(content)
    return snapshot


@pytest.mark.parametrize("name", ["facebook/sam-vit-base", "facebook/sam-vit-base@main"])
def test_a_model_in_the_cache_needs_no_network(name: str, cache: Path) -> None:
    snapshot = put(cache, "facebook/sam-vit-base", **WHOLE)
    assert located(Path(name)) == snapshot


@pytest.mark.parametrize(
    "path",
    ["nothing.onnx", "runs/best.onnx", "/nowhere/at/all", "a/b/c", "model", "../model", "models/..", "my--runs/best"],
)
def test_what_is_no_name_of_the_hub_stays_a_path(path: str, cache: Path) -> None:
    assert located(Path(path)) == Path(path)


@pytest.mark.parametrize("name", [None, Path(default_model_path().stem)])
def test_a_shipped_model_is_had_by_its_name(name: Path | None) -> None:
    assert located(name) == default_model_path()


def test_a_file_that_is_there_goes_before_a_shipped_model_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path(default_model_path().stem)
    own.touch()
    assert located(own) == own


def test_a_folder_that_is_there_goes_before_the_hub(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cache, "org/name", config__json="{}")
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert located(Path("org/name")) == Path("org/name")


def test_without_network_the_cause_and_the_cure_are_named(cache: Path) -> None:
    with pytest.raises(
        ModelError, match=r"neither a file .* cannot be fetched .*hf download org/name --local-dir FOLDER"
    ):
        load_segmenter(Path("org/name"), SegmentationSettings())


@pytest.mark.parametrize(
    "files",
    [
        {"config__json": "{}", "preprocessor_config__json": "{}"},
        {"config__json": "{}", "model__safetensors": ""},
        {
            "preprocessor_config__json": "{}",
            "model__safetensors__index__json": '{"weight_map": {"a": "b.safetensors"}}',
        },
        {"preprocessor_config__json": "{}", "model__safetensors__index__json": "{"},
    ],
)
def test_a_copy_that_was_cut_off_is_not_taken_for_the_model(files: dict[str, str], cache: Path) -> None:
    put(cache, "org/name", **files)
    with pytest.raises(ModelError, match=r"nor a whole model in the Hugging Face cache.*hf download org/name"):
        located(Path("org/name"))


def test_a_hub_that_says_nothing_is_given_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that takes connections and answers none, as some that robots are in."""
    monkeypatch.setattr(model_location, "_REPLY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = huggingface_hub.HfApi(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
        began = time.monotonic()
        with pytest.raises(ModelError, match=r"cannot be fetched \(.*(timed out|no answer)"):
            located(Path("org/name"))
    assert time.monotonic() - began < 8


def test_an_address_that_is_looked_up_for_long_is_given_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the name server is out of reach, which no time-out of a connection counts."""
    monkeypatch.setattr(model_location, "_REPLY_TIMEOUT_S", 0.05)
    looked_up = threading.Event()
    api = SimpleNamespace(repo_info=lambda *name, **wanted: looked_up.wait(10))
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
    try:
        with pytest.raises(
            ModelError, match=r"cannot be fetched \(no answer within 0.05 s\); on a machine with a network"
        ):
            located(Path("org/name"))
    finally:
        looked_up.set()


def test_what_is_not_in_the_cache_is_fetched_without_code_and_pickles(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    cached = huggingface_hub.snapshot_download

    def download(**wanted: Any) -> str:
        asked.append(wanted)
        if wanted.get("local_files_only"):
            return cached(**wanted)
        return str(put(cache, "org/name", **WHOLE))

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(repo_info=lambda *name, **wanted: None))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert located(Path("org/name@v2")).name == REVISION
    assert [call.get("local_files_only", False) for call in asked] == [True, False]
    assert asked[1]["revision"] == "v2"
    assert set(asked[1]["allow_patterns"]) == {"*.json", "*.safetensors", "merges.txt", "vocab.txt"}


def test_a_model_of_the_hub_without_safetensors_is_refused_with_the_cure(cache: Path) -> None:
    put(cache, "org/name", config__json='{"model_type": "detr"}', preprocessor_config__json="", pytorch_model__bin="")
    with pytest.raises(ModelError, match=r"pytorch_model.bin can run code.*save_pretrained .*write it as safetensors"):
        load_segmenter(Path("org/name"), SegmentationSettings())
