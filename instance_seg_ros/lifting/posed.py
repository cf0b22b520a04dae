"""How an object stands: on what is known to support it, above that, or on nothing; with its unseen parts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.status import Status
from instance_seg_ros.lifting.foot import Foot, foot_of
from instance_seg_ros.lifting.order_statistics import percentile
from instance_seg_ros.lifting.solid import Ball
from instance_seg_ros.lifting.standing import TOP_PERCENTILE
from instance_seg_ros.lifting.support import ObjectSupport, Support
from instance_seg_ros.lifting.whole import Fitted, Seen, Whole, completed

_STANDS = 1.5
"""What ends no farther above its support by its mask than so many tolerances is seen to stand on it."""
_SURELY_PX = 1.0
"""What has upright sides ends above its support for sure when most of its edge is seen to do so by a pixel more."""


@dataclass(frozen=True, eq=False)
class Posed:
    """An object with its unseen parts, and how it stands.

    Attributes:
        whole: None where no plane tells which way is up, or it is not above any.
        support: what it stands on.
        is_completed: whether `whole` reaches down to that; otherwise it ends where no more of it is seen.
        status: flags of what is not known of that.
        unseen_m: so far above where it ends it may end as well, or, of what is not completed, below.

    Raises:
        ValueError: for what is completed without its whole or with a status that says that it has no plane; for
            `unseen_m` that is not finite, or negative.
    """

    whole: Whole | None
    support: ObjectSupport
    is_completed: bool
    status: Status
    unseen_m: float

    def __post_init__(self) -> None:
        if self.is_completed != (Status.NO_SUPPORT_PLANE not in self.status):
            raise ValueError(f"is_completed is {self.is_completed}, which the status {self.status!r} contradicts")
        if self.whole is None and (self.is_completed or self.unseen_m):
            raise ValueError("of what has no unseen parts nothing is completed, and nothing known of its foot")
        if not 0 <= self.unseen_m < math.inf:
            raise ValueError(f"unseen_m must be finite and not negative, not {self.unseen_m}")

    @classmethod
    def of(cls, seen: Seen, support: ObjectSupport, level: Plane | None, tolerance_m: float) -> Posed:
        """An object as it stands.

        Args:
            support: what it stands on by what is around it.
            level: the plane that most objects stand on, where there is one.
            tolerance_m: what is no farther from a plane is the plane's own.
        """
        lowest, hanging_m = support.foot, 0.0
        fitted = None if support.plane is None else Fitted.on(seen, support.plane, tolerance_m)
        if fitted is not None:
            foot = foot_of(fitted.body, seen.frame, seen.mask, seen.bounds, tolerance_m)
            if support.unseen_m > 0 and not seen.in_part:
                hanging_m = fitted.hanging_m(foot)
            if not hanging_m:
                return cls._standing(fitted, foot, seen, support, tolerance_m)
            lowest = Plane(fitted.plane.normal, fitted.plane.offset_m - hanging_m)
        return cls._above(seen, support, level, lowest, hanging_m)

    @classmethod
    def _standing(cls, fitted: Fitted, foot: Foot, seen: Seen, support: ObjectSupport, tolerance_m: float) -> Posed:
        """On its support, or a little above it as far as its foot tells."""
        whole, end = completed(fitted, seen), _End(support.unseen_m)
        if not whole.round_below:
            end = _End.by_edge(foot, fitted, seen, support.unseen_m, tolerance_m)
        if end.unseen_m != support.unseen_m:
            support = replace(support, unseen_m=end.unseen_m)
        status = Status.FLUSH if whole.flush else Status.OK
        unseen_m = max(end.unseen_m, whole.unseen_m)
        if end.surely or unseen_m > whole.unseen_limit_m:
            status |= Status.FOOT_NOT_SEEN
        else:
            unseen_m = end.unseen_m  # of what only overhangs, the foot is where it is
        return cls(whole, support, True, status, max(unseen_m, end.above_m))

    @classmethod
    def _above(
        cls, seen: Seen, support: ObjectSupport, level: Plane | None, lowest: Plane | None, hanging_m: float
    ) -> Posed:
        """Above all that is known to be below it, or on no plane at all.

        Args:
            lowest: where it ends, as far as that is known; otherwise by the lowest that is seen of it.
            hanging_m: how far it hangs above its support, if that is how that is known.
        """
        if support.kind is not Support.NOTHING:
            support = ObjectSupport(leans_on=support.leans_on, top_m=support.top_m)
        nowhere = cls(None, support, False, Status.NO_SUPPORT_PLANE, 0.0)
        if level is None:
            return nowhere
        lowest_m = percentile(level.height_m(seen.surface.outline_m), 100 - TOP_PERCENTILE)
        ball = Ball.of(seen.surface.outline_m, seen.surface.normals)
        if ball is not None:
            lowest_m = ball.lowest_m(level, lowest_m)
        fitted = Fitted.on(seen, lowest or Plane(level.normal, level.offset_m - lowest_m), 0.0)
        if fitted is None:
            return nowhere
        whole, unseen_m = completed(fitted, seen), hanging_m
        if not hanging_m:
            own_m = foot_of(whole.body, seen.frame, seen.mask, seen.bounds, 0.0).lifted_m
            # Of what lies lower than the plane nobody knows what it lies on: as far below again is a guess of its size.
            reach_m = abs(lowest_m)
            unseen_m = reach_m if own_m is None else min(max(-own_m, 0.0), reach_m)
        return replace(nowhere, whole=whole, unseen_m=unseen_m)


class _End(NamedTuple):
    """How far above what it stands on an object may end.

    Attributes:
        unseen_m: so far down it is assumed to reach below what is seen of it, see `ObjectSupport`.
        above_m: so far above it may end by its lower edge: what stands and what is held a little look nearly the same.
        surely: whether it is seen to end above that.
    """

    unseen_m: float
    above_m: float = 0.0
    surely: bool = False

    @classmethod
    def by_edge(cls, foot: Foot, fitted: Fitted, seen: Seen, unseen_m: float, tolerance_m: float) -> _End:
        """By the lower edge of the mask of an object that is no narrower there than it looks.

        Args:
            unseen_m: where that does not tell.
            tolerance_m: of the plane.
        """
        if foot.is_covered:
            return cls(unseen_m, percentile(fitted.plane.height_m(seen.surface.outline_m), 100 - TOP_PERCENTILE))
        if foot.lifted_m is None:
            return cls(unseen_m)
        stands_m = _STANDS * tolerance_m
        surely_m = stands_m + _SURELY_PX * foot.pixel_m
        surely = foot.seen_m is not None and foot.seen_m > surely_m and fitted.is_upright
        return cls(0.0 if foot.lifted_m < stands_m else min(unseen_m, foot.lifted_m), foot.lifted_m, surely)
