"""Importing AdelaiDet's weights: every name and shape is accounted for, and nothing that a file brings is run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from instance_seg_ros.commands import main
from instance_seg_ros.learning.export.adelaidet_checkpoint import (
    ImportRefusedError,
    adelaidet_shapes,
    import_adelaidet,
    is_adelaidet_checkpoint,
    load_adelaidet_checkpoint,
    save_adelaidet_checkpoint,
)
from instance_seg_ros.learning.models.adelaidet import AdelaiDetConfig
from instance_seg_ros.segmentation.families.coco import COCO_CLASS_NAMES

HEAD = "proposal_generator.fcos_head"


def weights_of(config: AdelaiDetConfig) -> dict[str, Tensor]:
    """Weights in AdelaiDet's layout, each of one repeated value, so that the file is small."""
    return {
        name: torch.tensor(float(index % 50)).expand(shape)
        for index, (name, shape) in enumerate(adelaidet_shapes(config).items())
    }


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return weights_of(AdelaiDetConfig())


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[dict[str, Tensor]], Path]:
    def save(weights: dict[str, Tensor]) -> Path:
        path = tmp_path / "theirs.pth"
        torch.save({"model": weights, "iteration": 89999}, path)
        return path

    return save


def test_every_weight_arrives_under_its_name_here(weights, saved) -> None:
    checkpoint = import_adelaidet(saved(weights))
    assert checkpoint.config == AdelaiDetConfig(50, "caffe", 80, 0)
    assert checkpoint.class_names == COCO_CLASS_NAMES
    assert len(weights) == 363
    for here, theirs in {
        "backbone.stem.norm.running_var": "backbone.bottom_up.stem.conv1.norm.running_var",
        "backbone.stages.2.0.shortcut.conv.weight": "backbone.bottom_up.res4.0.shortcut.weight",
        "backbone.stages.0.2.conv3.norm.bias": "backbone.bottom_up.res2.2.conv3.norm.bias",
        "fpn.lateral.2.bias": "backbone.fpn_lateral5.bias",
        "fpn.output.0.weight": "backbone.fpn_output3.weight",
        "p7.bias": "backbone.top_block.p7.bias",
        "head.class_tower.convs.3.weight": f"{HEAD}.cls_tower.9.weight",
        "head.box_tower.norms.1.bias": f"{HEAD}.bbox_tower.4.bias",
        "head.centerness.bias": f"{HEAD}.ctrness.bias",
        "controller.weight": "controller.weight",
        "mask_branch.refine.1.1.running_mean": "mask_branch.refine.1.1.running_mean",
        "mask_branch.tower.3.0.weight": "mask_branch.tower.3.0.weight",
        "mask_branch.features.bias": "mask_branch.tower.4.bias",
    }.items():
        assert torch.equal(checkpoint.state_dict[here], weights[theirs]), here
    scales = [float(weights[f"{HEAD}.scales.{level}.scale"]) for level in range(5)]
    assert checkpoint.state_dict["head.scales"].tolist() == scales
    checkpoint.model()  # which loads all of it and nothing else


@pytest.mark.parametrize(
    "config",
    [AdelaiDetConfig(depth=101), AdelaiDetConfig(num_classes=2), AdelaiDetConfig(semantic_blocks=2)],
    ids=["R101", "two classes", "semantic branch"],
)
def test_the_weights_tell_which_network_they_are_of(config: AdelaiDetConfig, saved) -> None:
    names = ("bolt", "nut") if config.num_classes == 2 else None
    checkpoint = import_adelaidet(saved(weights_of(config)), class_names=names)
    assert checkpoint.config == config


def test_what_was_saved_is_loaded_again(weights, saved, tmp_path: Path) -> None:
    imported = import_adelaidet(saved(weights), "torchvision")
    path = tmp_path / "new folder" / "imported.pt"
    save_adelaidet_checkpoint(imported, path)
    loaded = load_adelaidet_checkpoint(path)
    assert is_adelaidet_checkpoint(path)
    assert (loaded.config, loaded.class_names, loaded.source) == (
        imported.config,
        imported.class_names,
        imported.source,
    )
    assert loaded.config.style == "torchvision"
    assert all(torch.equal(loaded.state_dict[name], value) for name, value in imported.state_dict.items())


def test_adelaidets_file_itself_is_not_taken_for_an_imported_one(weights, saved) -> None:
    path = saved(weights)
    assert not is_adelaidet_checkpoint(path)
    with pytest.raises(ImportRefusedError, match="make one with `instance-seg import-weights`"):
        load_adelaidet_checkpoint(path)


@pytest.mark.parametrize("change", [lambda saved: saved.pop("source"), lambda saved: saved["config"].update(later=1)])
def test_what_another_version_wrote_is_refused(weights, saved, tmp_path: Path, change: Callable) -> None:
    path = tmp_path / "imported.pt"
    save_adelaidet_checkpoint(import_adelaidet(saved(weights)), path)
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(ImportRefusedError, match="was written by another version .* import the weights again"):
        load_adelaidet_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_checkpoint_is_refused_by_the_export(tmp_path: Path, content: bytes, capsys) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    assert main.main(["export", "--checkpoint", str(path), "--out", str(tmp_path / "model.onnx")]) == 2
    assert f"{path} is damaged or no checkpoint" in capsys.readouterr().err


def test_missing_left_over_and_misshapen_weights_are_all_named(weights, saved) -> None:
    del weights["controller.bias"]
    weights["backbone.bottom_up.res3.1.conv2_offset.weight"] = torch.zeros(18)
    weights["mask_branch.tower.4.weight"] = torch.zeros(16, 128, 1, 1)
    with pytest.raises(ImportRefusedError) as refusal:
        import_adelaidet(saved(weights))
    for fault in (
        "1 missing: controller.bias",
        "1 left over: backbone.bottom_up.res3.1.conv2_offset.weight",
        "1 of another shape: mask_branch.tower.4.weight (16, 128, 1, 1) instead of (8, 128, 1, 1)",
    ):
        assert fault in str(refusal.value)


def test_counters_and_facts_of_the_configuration_are_no_weights(weights, saved) -> None:
    weights["mask_head._iter"] = torch.zeros(1)
    weights["mask_branch.refine.0.1.num_batches_tracked"] = torch.tensor(5)
    weights["mask_head.sizes_of_interest"] = torch.tensor([64, 128, 256, 512, 1024])
    weights["pixel_mean"] = torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1)
    weights["pixel_std"] = torch.ones(3, 1, 1)
    import_adelaidet(saved(weights))
    with pytest.raises(ImportRefusedError, match="pixel_mean .* give the other style of backbone"):
        import_adelaidet(saved(weights), "torchvision")
    weights["mask_head.sizes_of_interest"] = torch.tensor([32, 64, 128, 256, 512])
    with pytest.raises(ImportRefusedError, match="sizes_of_interest .* not supported"):
        import_adelaidet(saved(weights))
    weights["mask_head.sizes_of_interest"] = torch.tensor([64, 128, 256, 512])
    with pytest.raises(ImportRefusedError, match=r"is \[64, 128, 256, 512\], not .* not supported"):
        import_adelaidet(saved(weights))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.clear(), "no weights under 'model'"),
        (lambda w: w.pop(f"{HEAD}.cls_logits.weight"), "not a checkpoint of CondInst"),
        (lambda w: [w.pop(n) for n in list(w) if ".res5.2." in n], r"backbone with \(3, 4, 6, 2\) blocks; known are"),
        (
            lambda w: w.update({f"{HEAD}.cls_logits.weight": torch.zeros(7, 256, 3, 3)}),
            "7 classes, so they are not COCO's",
        ),
        (lambda w: w.update(config="R50"), "'config' in .* is no tensor but str"),
    ],
)
def test_other_content_is_refused_with_the_reason(weights, saved, change, message: str) -> None:
    change(weights)
    with pytest.raises(ImportRefusedError, match=message):
        import_adelaidet(saved(weights))


def test_the_number_of_class_names_must_fit(weights, saved) -> None:
    with pytest.raises(ImportRefusedError, match="80 classes, but 2 names"):
        import_adelaidet(saved(weights), class_names=("bolt", "nut"))


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_of_arrays_is_read(weights, tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "theirs.pkl"
    arrays = {name: np.ascontiguousarray(value.numpy()) for name, value in weights.items()}
    with path.open("wb") as file:
        pickle.dump({"model": arrays, "__author__": "somebody"}, file, protocol=protocol)
    state = import_adelaidet(path).state_dict
    assert torch.equal(state["controller.bias"], weights["controller.bias"])


class _Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def _pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("write", [torch.save, _pickle], ids=["torch", "pickle"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, write) -> None:
    path, trace = tmp_path / "theirs.pth", tmp_path / "run"
    write({"model": {}, "extra": _Payload(trace)}, path)
    with pytest.raises(ImportRefusedError, match=r"mkdir.*torch\.save\({'model'"):
        import_adelaidet(path)
    assert not trace.exists()


def test_a_file_that_was_cut_short_is_refused(weights, saved) -> None:
    path = saved(weights)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ImportRefusedError, match="damaged"):
        import_adelaidet(path)


def test_the_command_names_its_output_after_the_file(weights, saved, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.main(["import-weights", str(saved(weights))]) == 0
    assert is_adelaidet_checkpoint(tmp_path / "theirs.imported.pt")


def test_the_command_reports_what_it_imported_and_what_is_wrong(weights, saved, tmp_path: Path, capsys) -> None:
    path, out = saved(weights), tmp_path / "imported.pt"
    assert main.main(["import-weights", str(path), "--out", str(out)]) == 0
    assert "ResNet-50 (caffe), 80 classes; all 363 weights accounted for" in capsys.readouterr().out
    assert is_adelaidet_checkpoint(out)
    assert main.main(["import-weights", str(tmp_path / "none.pth"), "--out", str(out)]) == 2
    assert "there is no file" in capsys.readouterr().err
