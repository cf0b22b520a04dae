"""Every call gets its answer or a refusal, transitions hold nobody up, and the counts of frames add up."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_srvs.srv import SetBool

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.ros import node as node_module
from instance_seg_ros.ros.answers import Answers
from instance_seg_ros.ros.health import ANSWERED, FATES, GIVEN_UP, IGNORED, NEWER, RECEIVED, STOPPED, UNUSABLE
from instance_seg_ros.ros.outputs import Outputs
from instance_seg_ros.ros.requests import MOST_WAITING
from instance_seg_ros.srv import Segment

MakeStage = Callable[..., Any]
MakeFrame = Callable[..., RgbdFrame]
TIMEOUT_S = 90


class Gate:
    """Builds the blobs' pipeline so that loading, or each frame, waits until it may go on."""

    def __init__(self, blob_pipeline: Callable[..., Any]) -> None:
        self._blob_pipeline = blob_pipeline
        self.waiting = threading.Semaphore(0)
        self.loading, self.frames = threading.Event(), threading.Event()
        self.loading.set()
        self.frames.set()

    def build(self, *arguments: Any) -> Any:
        self.waiting.release()
        assert self.loading.wait(TIMEOUT_S)
        pipeline = self._blob_pipeline(*arguments)
        segment, gate = pipeline.segmenter.segment, self

        class Held:
            info, backend = pipeline.segmenter.info, pipeline.segmenter.backend

            def segment(self, frame: RgbdFrame) -> Any:
                gate.waiting.release()
                assert gate.frames.wait(TIMEOUT_S)
                return segment(frame)

        pipeline.segmenter = Held()
        return pipeline


@pytest.fixture
def gate(blob_pipeline: Callable[..., Any]) -> Any:
    """Open at first; opened at the end, so that nothing waits for ever."""
    gate = Gate(blob_pipeline)
    yield gate
    gate.loading.set()
    gate.frames.set()


def calls_of_segment(stage: Any, count: int, timeout_s: float = 60.0) -> list[Any]:
    """As many calls at once; their futures."""
    client = stage.probe.create_client(Segment, "/instance_seg/segment", qos_profile=QoSProfile(depth=2000))
    stage.wait(client.service_is_ready, "the service")
    return [client.call_async(Segment.Request(timeout_s=timeout_s)) for _ in range(count)]


def counts(stage: Any) -> dict[str, int]:
    """What became of the frames, by the diagnostics."""
    status = stage.probe.status("processing")
    values = {} if status is None else {value.key: value.value for value in status.values}
    return {name: int(values.get(name, "-1")) for name in (RECEIVED, *FATES)}


def test_calls_leave_nothing_behind(stage: Any, make_frame: MakeFrame) -> None:
    client = stage.probe.create_client(Segment, "/instance_seg/segment")
    stage.wait(client.service_is_ready, "the service")
    held = []
    for _ in range(3):
        futures = [client.call_async(Segment.Request(timeout_s=60.0)) for _ in range(5)]
        stage.wait(lambda: len(stage.node._requests._waiting) == 5, "the calls")
        stage.send_frame(make_frame())
        stage.wait(lambda futures=futures: all(future.done() for future in futures), "the answers")
        gc.collect()
        timers = list(stage.node.timers)
        held.append((len(timers), len(timers[0].callback_group.entities)))
    assert held[0] == held[1] == held[2]


def test_calls_during_a_configure_are_answered(make_stage: MakeStage, gate: Gate) -> None:
    stage = make_stage(gate.build)
    gate.loading.clear()
    client = stage.probe.create_client(ChangeState, "/instance_seg/change_state")
    stage.wait(client.service_is_ready, "the service")
    change = client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
    stage.wait(lambda: gate.waiting.acquire(blocking=False), "the load of the model")

    futures = calls_of_segment(stage, 40)
    stage.wait(lambda: all(future.done() for future in futures), "the refusals")

    assert {future.result().message for future in futures} == {"the node is configuring; activate it first"}
    assert stage.call(GetState, "get_state", GetState.Request()).current_state.label == "configuring"
    assert stage.call(SetBool, "set_enabled", SetBool.Request(data=True)).success
    second = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert not stage.call(ChangeState, "change_state", second).success
    assert stage.log_lines("is refused: another one is under way")
    assert not change.done()
    gate.loading.set()
    stage.wait(change.done, "the configure")
    assert change.result().success


def test_a_parameter_that_changes_during_a_configure_takes_effect(
    make_stage: MakeStage, make_frame: MakeFrame, gate: Gate
) -> None:
    stage = make_stage(gate.build)
    gate.loading.clear()
    configure = threading.Thread(target=stage.node.trigger_configure)
    configure.start()
    stage.wait(lambda: gate.waiting.acquire(blocking=False), "the load of the model")
    [result] = stage.node.set_parameters([node_module.Parameter("lifting.min_points", value=100_000)])
    assert result.successful
    gate.loading.set()
    configure.join(TIMEOUT_S)
    stage.node.trigger_activate()
    stage.wait(lambda: stage.connected(), "the connections")

    answer = stage.answer_to(stage.send_frame(make_frame()))

    assert ["too few" in instance.status_text for instance in answer.instances] == [True, True]


@pytest.mark.parametrize("count", [30, 211])
def test_calls_that_come_at_once_are_all_answered(stage: Any, make_frame: MakeFrame, count: int) -> None:
    futures = calls_of_segment(stage, count)
    sent_s = 0.0

    def all_answered() -> bool:
        nonlocal sent_s
        if stage.waits_for_a_frame() and time.monotonic() > sent_s + 0.5:
            stage.send_frame(make_frame())
            sent_s = time.monotonic()
        return all(future.done() for future in futures)

    stage.wait(all_answered, "the answers")

    assert [future.result().success for future in futures] == [True] * count


def test_more_calls_than_can_wait_are_refused_and_the_others_answered(
    stage: Any, make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instance_seg_ros.ros.requests.MOST_WAITING", 5)
    futures = calls_of_segment(stage, 8)
    stage.wait(lambda: sum(future.done() for future in futures) == 3, "the refusals")
    stage.send_frame(make_frame())
    stage.wait(lambda: all(future.done() for future in futures), "the answers")

    messages = [future.result().message for future in futures if not future.result().success]
    assert messages == [f"{MOST_WAITING} calls wait for a frame already; call again when some were answered"] * 3


def test_every_frame_is_counted_with_what_became_of_it(
    make_stage: MakeStage, make_frame: MakeFrame, gate: Gate
) -> None:
    stage = make_stage(gate.build)
    stage.start()
    stage.answer_to(stage.send_frame(make_frame()))
    gate.frames.clear()
    while gate.waiting.acquire(blocking=False):
        pass
    at_work_ns = stage.send_frame(make_frame())
    stage.wait(lambda: gate.waiting.acquire(blocking=False), "the frame at work")
    for _ in range(3):  # two of them give way to the third, which waits when the node is deactivated
        stage.send_frame(make_frame())
    stage.wait(lambda: counts(stage)[RECEIVED] == 5, "the frames")
    worker = stage.node._worker
    deactivate = threading.Thread(target=stage.node.trigger_deactivate)
    deactivate.start()
    stage.wait(lambda: worker.left == 1, "the worker to leave the waiting frame")
    gate.frames.set()
    deactivate.join(TIMEOUT_S)
    stage.answer_to(at_work_ns)
    stage.node.trigger_activate()
    stage.wait(lambda: stage.connected(), "the connections")
    stage.call(SetBool, "set_enabled", SetBool.Request(data=False))
    stage.send_frame(make_frame())

    expected = {RECEIVED: 6, ANSWERED: 2, UNUSABLE: 0, NEWER: 2, IGNORED: 1, STOPPED: 1, GIVEN_UP: 0}
    stage.wait(lambda: counts(stage) == expected, f"the counts {expected}")
    assert sum(expected[fate] for fate in FATES) == expected[RECEIVED]


@pytest.mark.parametrize(
    ("owner", "method", "fate"), [(Answers, "answer", UNUSABLE), (Outputs, "publish_pictures", ANSWERED)]
)
def test_a_frame_that_fails_for_whatever_reason_is_counted_once(
    owner: type, method: str, fate: str, stage: Any, make_frame: MakeFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(owner, method, fail)
    for number in (1, 2):
        stage.send_frame(make_frame())
        stage.wait(lambda number=number: counts(stage)[fate] == number, "the count")
    assert counts(stage) == dict.fromkeys(counts(stage), 0) | {RECEIVED: 2, fate: 2}
    assert stage.log_lines("could not answer a frame")


def test_a_frame_that_never_ends_is_reported_and_given_up_by_a_configure(
    make_stage: MakeStage, make_frame: MakeFrame, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "STOP_TIMEOUT_S", 0.2)
    stage = make_stage(gate.build, frame_timeout_s=0.5)
    stage.start()
    gate.frames.clear()
    lost_ns = stage.send_frame(make_frame())
    stage.wait(lambda: stage.log_lines("frame at work: a frame has been at work for"), "the watchdog's log line")
    stage.wait(lambda: "has been at work for" in stage.probe.status_text("processing"), "the diagnostics")

    stage.node.trigger_deactivate()
    assert stage.log_lines("the frame at work did not end within 0.2 s and is given up")
    stage.node.trigger_cleanup()
    held, gate.frames = gate.frames, threading.Event()
    gate.frames.set()
    stage.node.trigger_configure()
    stage.node.trigger_activate()
    stage.wait(lambda: stage.connected(), "the connections")
    stage.answer_to(stage.send_frame(make_frame()))

    held.set()
    stage.answer_to(stage.send_frame(make_frame()))
    stage.wait(lambda: (counts(stage)[GIVEN_UP], counts(stage)[ANSWERED]) == (1, 2), "the counts")
    assert stage.probe.answer(lost_ns) is None


def test_two_nodes_of_one_name_are_told(stage: Any) -> None:
    second = Node("instance_seg")
    stage.wait(lambda: stage.log_lines("two nodes of one name: another node is called /instance_seg"), "the log line")
    second.destroy_node()


def test_diagnostics_carry_the_namespace(ros: None, make_stage: MakeStage) -> None:
    stage = make_stage(namespace="/arm")

    def names() -> set[str]:
        arrays = stage.probe.received["diagnostics"]
        return {status.name for status in arrays[-1].status} if arrays else set()

    stage.wait(names, "the diagnostics")

    assert names() == {f"arm/instance_seg: {part}" for part in ("inputs", "processing", "outputs", "model")}


@pytest.mark.parametrize(
    ("signals", "after_s"),
    [((signal.SIGTERM,), 0.0), ((signal.SIGINT, signal.SIGINT), 0.0), ((signal.SIGINT, signal.SIGINT), 2.0)],
    ids=["one while it imports", "two while it imports", "two later"],
)
def test_signals_during_the_start_end_it_quietly(
    block_model_path: Path, signals: tuple[signal.Signals, ...], after_s: float
) -> None:
    command = [sys.executable, "-m", "instance_seg_ros.ros", "--ros-args", "-p", f"model_path:={block_model_path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while not catches_sigterm(process.pid):
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(after_s)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.05)
        out, _ = process.communicate(timeout=TIMEOUT_S)

    assert "Traceback" not in out
    assert process.returncode == 0, out


def catches_sigterm(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM, which Python by itself has not."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)
