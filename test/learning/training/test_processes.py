from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from instance_seg_ros.learning.models.checkpoint import load_checkpoint
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.training.curve import TERMS
from instance_seg_ros.learning.training.log import LOG_NAME
from instance_seg_ros.learning.training.processes import Processes, flushed_denormals, joined_processes
from instance_seg_ros.learning.training.train import CHECKPOINT_NAME

SCRIPT = Path(__file__).with_name("distributed_training.py")


def train(store: Path, out: Path, config: CondInstConfig, steps: int, processes: int) -> list[dict[str, float]]:
    """Runs the script, here or in several processes; returns the log."""
    arguments = [str(store), str(out), json.dumps(config.to_dict()), str(steps)]
    if processes == 1:
        runpy.run_path(str(SCRIPT))["main"](*arguments)
    else:
        root = str(Path(__file__).resolve().parents[3])
        paths = os.pathsep.join(path for path in (root, os.environ.get("PYTHONPATH", "")) if path)
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        result = subprocess.run(
            [sys.executable, *launcher, str(SCRIPT), *arguments],
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in (out / LOG_NAME).read_text().splitlines()]


@pytest.mark.parametrize("before", [False, True])
def test_numbers_too_small_for_all_their_digits_are_0_as_long_as_asked_for(before: bool) -> None:
    smallest = torch.full((64,), torch.finfo(torch.float32).tiny)
    torch.set_flush_denormal(before)
    try:
        with flushed_denormals():
            assert not (smallest / 2).any()
        assert bool((smallest / 2).any()) is not before
    finally:
        torch.set_flush_denormal(False)


def test_two_processes_learn_what_one_learns_and_one_resumes_what_two_began(
    tiny_color_store: Path, small_config: CondInstConfig, tmp_path: Path
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for steps, processes in ((2, 1), (4, 1)):
        logged_alone = train(tiny_color_store, alone, small_config, steps, processes)
    for steps, processes in ((2, 2), (4, 1)):
        logged_together = train(tiny_color_store, together, small_config, steps, processes)
    assert [record["step"] for record in logged_together] == [1, 2, 3, 4]
    for first, second in zip(logged_alone, logged_together, strict=True):
        for name in (*TERMS, "gradient_norm", "learning_rate"):
            assert second[name] == pytest.approx(first[name], rel=2e-3), (first["step"], name)
    states = [load_checkpoint(folder / CHECKPOINT_NAME).model for folder in (alone, together)]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=1e-4, msg=name)
    written = {path.name for path in together.iterdir()}
    assert written == {path.name for path in alone.iterdir()}  # the second process wrote nothing


def test_alone_nothing_is_shared() -> None:
    with joined_processes("cpu") as processes:
        assert (processes.rank, processes.count, processes.is_first) == (0, 1, True)
        assert processes.share_of(6) == range(6)
        assert processes.from_first(2.5) == 2.5
        assert processes.mean(torch.tensor([1.0, 3.0])).tolist() == [1.0, 3.0]


@pytest.mark.parametrize(("rank", "slots"), [(0, [0, 1]), (1, [2, 3]), (2, [4, 5])])
def test_each_process_takes_its_part_of_the_batch(rank: int, slots: list[int]) -> None:
    assert list(Processes(rank=rank, count=3).share_of(6)) == slots


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 7 images cannot be shared by 2 processes"):
        Processes(count=2).share_of(7)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="torch finds no NVIDIA GPU"), joined_processes("cuda"):
        pass
