"""Trains a small network for some steps, by as many processes as torchrun starts; run by test_processes.py.

    python distributed_training.py STORE OUT CONFIG_JSON STEPS

Normalisation keeps its statistics here: those of a batch that several CPUs share are each process's own, and with them
out of the way the processes must learn what one process learns.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from torch import nn

from instance_seg_ros.learning.datasets.scene_frames import SceneFrames
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.synthetic.store import open_store
from instance_seg_ros.learning.training.processes import joined_processes
from instance_seg_ros.learning.training.settings import TrainingSettings
from instance_seg_ros.learning.training.train import Trainer


def main(store: str, out: str, config: str, steps: str) -> None:
    settings = TrainingSettings(
        steps=int(steps), batch_size=4, workers=0, threads=1, warmup_steps=1, bf16=False, learning_rate=1e-3
    )
    with joined_processes("cpu") as processes:
        frames = SceneFrames(open_store(store))
        sizes = CondInstConfig.from_dict(json.loads(config))
        trainer = Trainer(settings, frames, Path(out), config=sizes, processes=processes)
        for module in trainer.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        trainer.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
