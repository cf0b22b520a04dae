"""Geometry on a GPU, by PyTorch; on any device that PyTorch has."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from instance_seg_ros.compute.arrays import FrameArrays
from instance_seg_ros.core.camera import RgbdFrame

_ALL = 1_000_000
_MOST_CONSTANTS = 16


class TorchCompute:
    """A `Compute` of PyTorch: all instances of a frame at once, since a GPU waits for launches and not for numbers.

    Nothing but `host` and `median`, and what picks by a mask, waits for the device.

    Args:
        device: as PyTorch calls it, "cuda" or "cpu".

    Raises:
        RuntimeError: PyTorch cannot use this device.
    """

    instances_at_once = _ALL
    grasps_at_once = _ALL

    def __init__(self, device: str) -> None:
        self.device = torch.zeros(1, device=device).device
        where = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "the CPU"
        self.name = f"PyTorch {torch.__version__} on {where}"
        self._constants: OrderedDict[int, tuple[NDArray, Tensor]] = OrderedDict()
        self._numbers: dict[int, Tensor] = {}
        self._last: tuple[RgbdFrame, FrameArrays] | None = None

    def array(self, host: NDArray) -> Tensor:
        """See `Compute`."""
        return torch.tensor(host, device=self.device)

    def constant(self, host: NDArray) -> Tensor:
        """See `Compute`."""
        kept = self._constants.get(id(host))
        if kept is None:
            # With the array, so that nothing else can get its id.
            kept = self._constants[id(host)] = host, self.array(host)
        if len(self._constants) > _MOST_CONSTANTS:
            self._constants.popitem(last=False)
        return kept[1]

    def host(self, array: Tensor) -> NDArray:
        """See `Compute`."""
        return array.cpu().numpy()

    def frame(self, frame: RgbdFrame) -> FrameArrays:
        """See `Compute`."""
        if self._last is None or self._last[0] is not frame:
            self._last = (
                frame,
                FrameArrays(self.array(frame.depth_m), self.constant(frame.intrinsics.rays), frame.intrinsics),
            )
        return self._last[1]

    def rows(self, values: Tensor, index: Tensor) -> Tensor:
        """See `Compute`."""
        if len(values) not in self._numbers:
            self._numbers[len(values)] = torch.arange(len(values), device=self.device)[:, None]
        return values[self._numbers[len(values)], index]

    def stable_order(self, values: Tensor) -> Tensor:
        """See `Compute`."""
        return torch.argsort(values, dim=-1, stable=True)

    def true_places(self, mask: Tensor, ranks: Tensor) -> Tensor:
        """See `Compute`."""
        # The first place with one more true value up to and with it than are to lie before it.
        places = torch.searchsorted(torch.cumsum(mask, dim=-1), ranks + 1)
        return places.clamp(max=mask.shape[-1] - 1)

    def median(self, values: Tensor, mask: Tensor) -> NDArray[np.float64]:
        """See `Compute`."""
        count = mask.sum(dim=-1, keepdim=True)
        ordered = torch.where(mask, values, torch.inf).sort(dim=-1).values
        middle = torch.cat([(count - 1).clamp(min=0) // 2, count // 2], dim=-1).clamp(max=values.shape[-1] - 1)
        mean = ordered.gather(-1, middle).mean(dim=-1)
        return self.host(torch.where(count[:, 0] > 0, mean, 0).double())

    def dilated(self, image: Tensor, side_px: int) -> Tensor:
        """See `Compute`."""
        planes = image.reshape(-1, 1, *image.shape[-2:]).float()
        largest = F.max_pool2d(planes, side_px, stride=1, padding=side_px // 2)
        return largest.reshape(image.shape).to(image.dtype)

    def eroded(self, mask: Tensor, side_px: int) -> Tensor:
        """See `Compute`."""
        return ~self.dilated(~mask, side_px)

    def window_moments(
        self, image: Tensor, radii_px: Sequence[int], powers_xy: Sequence[tuple[int, int]]
    ) -> list[Tensor]:
        """See `Compute`."""
        widest = max(radii_px)
        steps = np.arange(-widest, widest + 1)
        offset = (steps / np.array(radii_px)[:, None]).astype(np.float32)
        # Powers 0, 1 and 2 of the offset for each instance, 0 beyond its window: (3, B, 1, 1, side).
        host = np.stack([np.where(np.abs(offset) <= 1, offset**power, 0) for power in range(3)])
        kernels = self.array(host.astype(np.float32))[:, :, None, None]
        # TensorFloat-32, which PyTorch allows itself for convolutions, would keep 10 of the 23 bits.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            along_x = [
                F.conv2d(image[None], kernels[power], padding=(0, widest), groups=len(image))
                for power in range(1 + max(x for x, _ in powers_xy))
            ]
            return [
                F.conv2d(along_x[x], kernels[y].swapaxes(2, 3), padding=(widest, 0), groups=len(image))[0]
                for x, y in powers_xy
            ]
