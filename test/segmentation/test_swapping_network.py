"""Networks that take their time: one that another serves for meanwhile, and one that its first frame waits for."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.segmentation.accelerator import Accelerator, Report, Shapes
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.network import Network, instances_of, selected_instances
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, NotFiniteError, Selection
from instance_seg_ros.segmentation.swapping_network import SwappingNetwork
from instance_seg_ros.segmentation.waiting_network import WaitingNetwork

TIMEOUT_S = 10.0


class ConstantNetwork:
    """Gives its score; fails while it has an error to raise."""

    input_names = ("depth_m",)

    def __init__(self, backend: str, score: float) -> None:
        self.backend = backend
        self.score = score
        self.error: Exception | None = None

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """One row, the same object whatever the frame."""
        if self.error is not None:
            raise self.error
        scores, box = np.array([self.score], dtype=np.float32), np.array([[0, 0, 4, 4]], dtype=np.float32)
        masks = np.ones((1, 2, 2), dtype=np.float16)
        return NetworkOutput(box, scores, np.zeros(1, dtype=np.int64), masks, np.full(2, 0.5, dtype=np.float32))


CPU, GPU = 0.75, 0.875


def score(network: SwappingNetwork | WaitingNetwork, size: int = 4) -> float:
    """Of one frame: tells which network served it."""
    return float(network({"depth_m": np.zeros((size, size), dtype=np.float32)}).scores[0])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.002)


def test_the_better_network_takes_over_when_it_is_ready() -> None:
    may_finish = threading.Event()

    def make(shapes: Shapes, report: Report) -> ConstantNetwork:
        assert shapes == {"depth_m": (4, 4)}
        report("building, 40%")
        may_finish.wait(TIMEOUT_S)
        return ConstantNetwork("on the GPU", GPU)

    network = SwappingNetwork(ConstantNetwork("on the CPU", CPU), [Accelerator("Fast", {"tf32": make})])
    assert network.backend == "on the CPU; Fast: starts with the first frame"
    assert [score(network) for _ in range(3)] == [CPU] * 3
    wait_until(lambda: network.backend == "on the CPU; Fast: building, 40%")
    may_finish.set()
    wait_until(lambda: network.backend == "on the CPU; Fast: ready")
    assert score(network) == GPU
    assert network.backend == "on the GPU"


def test_one_that_cannot_be_made_is_tried_once_and_the_reason_shown() -> None:
    attempts = []

    def make(shapes: Shapes, report: Report) -> ConstantNetwork:
        attempts.append(shapes)
        raise MemoryError("no memory left on the GPU")

    network = SwappingNetwork(ConstantNetwork("on the CPU", CPU), [Accelerator("Fast", {"tf32": make})])
    assert score(network) == CPU
    wait_until(lambda: network.backend == "on the CPU; Fast: failed: no memory left on the GPU")
    assert [score(network) for _ in range(3)] == [CPU] * 3
    assert len(attempts) == 1


def test_one_that_fails_on_a_frame_is_given_up_and_the_frame_is_served() -> None:
    better = ConstantNetwork("on the GPU", GPU)
    network = SwappingNetwork(
        ConstantNetwork("on the CPU", CPU), [Accelerator("Fast", {"tf32": lambda shapes, report: better})]
    )
    score(network)
    wait_until(lambda: score(network) == GPU)
    better.error = RuntimeError("an illegal memory access")
    assert score(network) == CPU
    better.error = None
    assert score(network) == CPU
    assert network.backend == "on the CPU; Fast: failed on a frame: an illegal memory access"


def test_one_whose_numbers_overflow_is_given_up_and_the_frame_is_served() -> None:
    better = ConstantNetwork("on the GPU", GPU)
    network = SwappingNetwork(
        ConstantNetwork("on the CPU", CPU), [Accelerator("Fast", {"tf32": lambda shapes, report: better})]
    )
    score(network)
    wait_until(lambda: score(network) == GPU)
    better.score = float("nan")
    assert score(network) == CPU
    assert network.backend.startswith("on the CPU; Fast: failed on a frame: the network's scores are not finite")


def test_one_that_says_something_else_of_the_first_frame_never_serves() -> None:
    blind = ConstantNetwork("on the GPU", 0.125)
    network = SwappingNetwork(
        ConstantNetwork("on the CPU", CPU), [Accelerator("Fast", {"tf32": lambda shapes, report: blind})]
    )
    score(network)
    wait_until(lambda: "failed" in network.backend)
    assert score(network) == CPU
    assert network.backend == (
        "on the CPU; Fast: failed: on the GPU does not compute what the model file says: it misses 1 of 1 objects"
    )


def refuse(shapes: Shapes, report: Report) -> ConstantNetwork:
    raise RuntimeError("no such library")


def test_the_next_one_takes_over_and_the_better_one_is_named() -> None:
    second = ConstantNetwork("by the second", GPU)
    third = ConstantNetwork("by the third", GPU + 0.125)
    network = SwappingNetwork(
        ConstantNetwork("on the CPU", CPU),
        [
            Accelerator("First", {"tf32": refuse}),
            Accelerator("Second", {"tf32": lambda shapes, report: second}),
            Accelerator("Third", {"tf32": lambda shapes, report: third}),
        ],
    )
    assert score(network) == CPU
    wait_until(lambda: score(network) == GPU)
    assert network.backend == "by the second; First: failed: no such library"
    second.error = RuntimeError("an illegal memory access")
    assert score(network) == CPU
    wait_until(lambda: score(network) == GPU + 0.125)
    assert network.backend == (
        "by the third; First: failed: no such library; Second: failed on a frame: an illegal memory access"
    )


def test_when_all_fail_the_first_network_serves_and_every_reason_is_shown() -> None:
    network = SwappingNetwork(
        ConstantNetwork("on the CPU", CPU), [Accelerator("A", {"tf32": refuse}), Accelerator("B", {"tf32": refuse})]
    )
    score(network)
    wait_until(lambda: network.backend == "on the CPU; A: failed: no such library; B: failed: no such library")
    assert [score(network) for _ in range(3)] == [CPU] * 3


def test_without_anything_to_swap_to_it_is_not_made() -> None:
    with pytest.raises(ValueError, match="nothing to swap to"):
        SwappingNetwork(ConstantNetwork("on the CPU", CPU), [])


def test_each_size_of_the_images_gets_its_own() -> None:
    made = []

    def make(shapes: Shapes, report: Report) -> ConstantNetwork:
        made.append(shapes["depth_m"])
        return ConstantNetwork("on the GPU", GPU + len(made) / 16)

    network = SwappingNetwork(ConstantNetwork("on the CPU", CPU), [Accelerator("Fast", {"tf32": make})])
    assert score(network, 4) == CPU
    wait_until(lambda: score(network, 4) == GPU + 1 / 16)
    assert score(network, 8) == CPU
    wait_until(lambda: score(network, 8) == GPU + 2 / 16)
    assert score(network, 4) == GPU + 1 / 16
    assert made == [(4, 4), (8, 8)]


def test_an_error_of_the_first_network_is_the_callers_and_starts_nothing() -> None:
    first = ConstantNetwork("on the CPU", CPU)
    first.error = ValueError("exported for another size")
    network = SwappingNetwork(
        first, [Accelerator("Fast", {"tf32": lambda shapes, report: pytest.fail("made without need")})]
    )
    with pytest.raises(ValueError, match="another size"):
        score(network)
    assert network.backend == "on the CPU; Fast: starts with the first frame"


def test_a_waiting_network_makes_one_for_each_size_and_the_first_frame_waits() -> None:
    made = []

    def make(shapes: Shapes, report: Report) -> ConstantNetwork:
        report("building, 40%")
        made.append((shapes["depth_m"], network.backend))
        return ConstantNetwork(f"on the GPU for {shapes['depth_m'][0]}", GPU)

    network = WaitingNetwork(ConstantNetwork("on the CPU", CPU), Accelerator("Fast", {"tf32": make}))
    assert network.backend == "Fast: starts with the first frame"
    assert [score(network, size) for size in (4, 4, 8, 4)] == [GPU] * 4
    assert made == [((4, 4), "Fast: building, 40%"), ((8, 8), "Fast: building, 40%")]
    assert network.backend == "on the GPU for 4"


def test_a_waiting_network_that_cannot_be_made_says_so_for_each_frame_and_is_tried_once() -> None:
    attempts = []

    def make(shapes: Shapes, report: Report) -> ConstantNetwork:
        attempts.append(shapes)
        raise MemoryError("no memory left on the GPU")

    network = WaitingNetwork(ConstantNetwork("on the CPU", CPU), Accelerator("Fast", {"tf32": make}))
    for _ in range(2):
        with pytest.raises(ModelError, match="Fast: failed: no memory left on the GPU"):
            score(network)
    assert len(attempts) == 1
    assert network.backend == "Fast: failed: no memory left on the GPU"


OVERFLOW = float("nan")


def made_in(scores: Mapping[str, float]) -> Accelerator:
    """One whose network gives this score in each precision."""
    return Accelerator(
        "Fast",
        {
            precision: lambda shapes, report, precision=precision: ConstantNetwork(f"in {precision}", scores[precision])
            for precision in scores
        },
    )


@pytest.mark.parametrize(
    ("scores", "backend"),
    [
        ({"fp16": GPU, "tf32": GPU + 1 / 16}, "in fp16"),
        ({"fp16": OVERFLOW, "tf32": GPU}, "in tf32 (tf32, not fp16: the network's scores are not finite: .*)"),
        (
            {"fp16": 0.125, "tf32": GPU},
            "in tf32 (tf32, not fp16: in fp16 .*: it misses 1 of 1 objects)",
        ),
        (
            {"fp16": OVERFLOW, "bf16": 0.125, "tf32": GPU},
            "in tf32 (tf32, not fp16: .*; not bf16: .* misses 1 of .*)",
        ),
    ],
)
def test_a_precision_that_does_not_hold_the_numbers_makes_room_for_one_that_does(
    scores: dict[str, float], backend: str
) -> None:
    pattern = re.escape(backend).replace(r"\.\*", ".*")
    cpu = ConstantNetwork("on the CPU", CPU)
    waiting, swapping = WaitingNetwork(cpu, made_in(scores)), SwappingNetwork(cpu, [made_in(scores)])
    score(swapping)
    wait_until(lambda: score(swapping) != CPU)
    for network in (waiting, swapping):
        assert score(network) >= GPU
        assert re.fullmatch(pattern, network.backend), network.backend


def test_when_no_precision_holds_the_numbers_each_is_named() -> None:
    network = WaitingNetwork(ConstantNetwork("on the CPU", CPU), made_in({"fp16": OVERFLOW, "tf32": 0.125}))
    with pytest.raises(ModelError, match=r"Fast: failed: not fp16: .* not finite.*; not tf32: .* misses 1 of 1"):
        score(network)


def test_what_another_precision_would_not_help_is_told_at_once() -> None:
    def unused(shapes: Shapes, report: Report) -> ConstantNetwork:
        pytest.fail("made without need")

    accelerator = Accelerator("Fast", {"fp16": refuse, "tf32": unused})
    with pytest.raises(ModelError, match="Fast: failed: no such library"):
        score(WaitingNetwork(ConstantNetwork("on the CPU", CPU), accelerator))


class SettlingNetwork(ConstantNetwork):
    """Makes the instances itself, with a score of its own."""

    SETTLED = 0.625

    def instances(self, inputs: Mapping[str, NDArray], selection: Selection, class_names: tuple[str, ...]) -> Instances:
        if self.error is not None:
            raise self.error
        output = dataclasses.replace(self(inputs), scores=np.full(1, self.SETTLED, dtype=np.float32))
        return selected_instances(output, inputs, selection, class_names)


def instance_scores(network: Network) -> list[float]:
    inputs = {"depth_m": np.zeros((4, 4), dtype=np.float32)}
    return instances_of(network, inputs, Selection(0.1, 0.5, 10, 1), ("object",)).scores.tolist()


@pytest.mark.parametrize("kind", [ConstantNetwork, SettlingNetwork])
def test_instances_come_from_the_first_network_until_the_better_one_makes_them(kind: type[ConstantNetwork]) -> None:
    better = kind("on the GPU", GPU)
    network = SwappingNetwork(
        ConstantNetwork("on the CPU", CPU), [Accelerator("Fast", {"tf32": lambda shapes, report: better})]
    )
    assert instance_scores(network) == [CPU]
    wait_until(lambda: network.backend == "on the CPU; Fast: ready")
    assert instance_scores(network) == [GPU if kind is ConstantNetwork else SettlingNetwork.SETTLED]
    better.error = RuntimeError("the GPU fell off")
    assert instance_scores(network) == [CPU]
    assert network.backend == "on the CPU; Fast: failed on a frame: the GPU fell off"


@pytest.mark.parametrize(("kind", "score"), [(ConstantNetwork, GPU), (SettlingNetwork, SettlingNetwork.SETTLED)])
def test_a_network_that_is_waited_for_makes_its_instances_itself_where_it_can(
    kind: type[ConstantNetwork], score: float
) -> None:
    accelerator = Accelerator("Fast", {"tf32": lambda shapes, report: kind("on the GPU", GPU)})
    assert instance_scores(WaitingNetwork(ConstantNetwork("on the CPU", CPU), accelerator)) == [score]


def test_a_network_in_a_safer_precision_makes_its_instances_itself() -> None:
    def overflowing(shapes: Shapes, report: Report) -> ConstantNetwork:
        raise NotFiniteError("the scores are not finite")

    makers = {"fp16": overflowing, "bf16": lambda shapes, report: SettlingNetwork("on the GPU", GPU)}
    network = WaitingNetwork(ConstantNetwork("on the CPU", CPU), Accelerator("Fast", makers))
    assert instance_scores(network) == [SettlingNetwork.SETTLED]
    assert network.backend == "on the GPU (bf16, not fp16: the scores are not finite)"


def test_a_network_that_makes_other_masks_than_the_cpu_of_its_own_output_does_not_serve() -> None:
    class Emptying(SettlingNetwork):
        def instances(
            self, inputs: Mapping[str, NDArray], selection: Selection, class_names: tuple[str, ...]
        ) -> Instances:
            return Instances.empty(4, 4, class_names)

    accelerator = Accelerator("Fast", {"tf32": lambda shapes, report: Emptying("on the GPU", GPU)})
    with pytest.raises(ModelError, match="its masks differ from those that the CPU makes"):
        instance_scores(WaitingNetwork(ConstantNetwork("on the CPU", CPU), accelerator))
