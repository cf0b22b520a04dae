"""What a GPU does for a frame, stage by stage, from what PyTorch's profiler records of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

KERNEL_STAGES = ("network", "suppression", "masks")
STAGES = ("upload", *KERNEL_STAGES, "download", "idle")
_SUPPRESSION = "_suppress"  # the kernel of `suppression_kernel`
_TO_GPU, _FROM_GPU = "Memcpy HtoD", "Memcpy DtoH"
_LISTED_KERNELS = 15


@dataclass(frozen=True)
class GpuEvent:
    """A kernel or a copy.

    Attributes:
        name: as the profiler has it.
        start_us, end_us: on the profiler's clock.
    """

    name: str
    start_us: float
    end_us: float


@dataclass(frozen=True)
class GpuStages:
    """The mean frame of a recording.

    Attributes:
        ms: by stage. What runs before the kernel of the suppression is "network", the selection of candidates and their
            dynamic masks too; what runs behind it is "masks". Without that kernel all is "network". "idle" is between
            the first copy and the last.
        kernels: by stage, a count.
        longest: name, count and ms of the kernels that take longest.
    """

    ms: dict[str, float]
    kernels: dict[str, float]
    longest: list[tuple[str, float, float]]


def recorded(run: Callable[[], object], frames: int = 5) -> list[GpuEvent]:
    """What happens on the GPU while `run` does some frames, after one that does not count."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    run()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        for _ in range(frames):
            run()
        torch.cuda.synchronize()
    return [
        GpuEvent(event.name, event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type == torch.autograd.DeviceType.CUDA
    ]


def stages_of(events: Iterable[GpuEvent]) -> GpuStages:
    """The mean frame of what was recorded; a frame begins with the first upload after a download.

    Raises:
        ValueError: there is no frame.
    """
    frames = _frames(sorted(events, key=lambda event: event.start_us))
    if not frames:
        raise ValueError("the profiler recorded no frame on the GPU")
    us, counts = dict.fromkeys(STAGES, 0.0), dict.fromkeys(STAGES, 0)
    by_name: dict[str, list[float]] = {}
    for frame in frames:
        stage = "network"
        for event in frame:
            duration_us = event.end_us - event.start_us
            if _SUPPRESSION in event.name:
                stage = "masks"
            own = _copy_stage(event) or ("suppression" if _SUPPRESSION in event.name else stage)
            us[own] += duration_us
            counts[own] += 1
            if _copy_stage(event) is None:
                by_name.setdefault(event.name, []).append(duration_us)
        span_us = max(event.end_us for event in frame) - frame[0].start_us
        us["idle"] += span_us - sum(event.end_us - event.start_us for event in frame)
    longest = sorted(by_name.items(), key=lambda item: -sum(item[1]))[:_LISTED_KERNELS]
    return GpuStages(
        {stage: value / len(frames) / 1e3 for stage, value in us.items()},
        {stage: value / len(frames) for stage, value in counts.items()},
        [(name, len(times) / len(frames), sum(times) / len(frames) / 1e3) for name, times in longest],
    )


def _copy_stage(event: GpuEvent) -> str | None:
    if event.name.startswith(_TO_GPU):
        return "upload"
    return "download" if event.name.startswith(_FROM_GPU) else None


def _frames(events: Sequence[GpuEvent]) -> list[list[GpuEvent]]:
    frames: list[list[GpuEvent]] = []
    before: str | None = "download"
    for event in events:
        stage = _copy_stage(event)
        if stage == "upload" and before == "download":
            frames.append([])
        if frames:
            frames[-1].append(event)
        before = stage
    return frames
