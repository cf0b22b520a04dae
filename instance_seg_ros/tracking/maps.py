"""Where the camera is when nobody tells: in one of the maps that the tracker made of what it has seen."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.tracking.alignment import Alignment, Objects, alignments
from instance_seg_ros.tracking.arrays import rows_at
from instance_seg_ros.tracking.association import likeness, places_of
from instance_seg_ros.tracking.landmarks import LEAST, NO_LANDMARKS, Landmarks, motion_between
from instance_seg_ros.tracking.sightings import Sightings
from instance_seg_ros.tracking.tracks import Tracks

FloatArray = NDArray[np.float64]

_VIEW_WH = (32, 24)
_SAME_M, _SAME_SHARE = 0.015, 0.015
_LEAST_SAME = 0.3
_MOST_SEEN_THROUGH = 0.15
_UP_COS = np.cos(np.radians(15))
_DEPTH_WEIGHT = 1.0
"""A pose from which all of a view has the depth that it should have counts as much as one object more."""
_LEAST_EVIDENCE = 0.2
"""Where the depth tells less, and no object is known, the camera may be anywhere."""
_STILL_BONUS = 1.1
_NEAR_M = 0.15
"""A camera that moved by more between two frames is known by two objects, not by one."""
_ENOUGH = 3
"""So many objects in their places are no chance."""
_TOLD_BY_DEPTH, _CLEAR, _OTHER_POSE_M = 2, 0.3, 0.1
"""So many are none where the depth agrees, too, and no pose that is farther off than the third is nearly as good."""
_UNRESTED, _RESTED = 0.5, 5.0
"""What moved just now, or is new, tells less of the camera than what has been in its place for so many frames."""
_KNOWN_SIGHTINGS, _RESTED_SIGHTINGS, _LATELY_UPDATES = 8, 2, 15
"""Of what was seen less often, not twice in one place, or not lately, nobody expects that it is still there."""
_YOUNG_UPDATES = 30
"""As long as a map is younger, the camera may be back in an older one at any time."""
_NEW_VIEW_M, _MOST_VIEWS = 0.15, 12
"""Of a map so many views are remembered, that are at least so far apart, and what is ahead in them."""
_MOST_COMPARED, _PLENTY = 12, 30
"""So many views of maps that were left are compared in a frame, and none any more once so many landmarks agree."""
_NEAREST, _LEAST_IN_VIEW = 3, 0.3
"""So many views nearest to a pose, and such a share of them, tell whether that is right."""
_STEP_M = 0.1
"""A camera that does not jerk moves what it sees by no more than this between two frames."""
_AHEAD_M = np.array([0.0, 0.0, 0.9])
_OTHER_MAPS = 4
"""The camera is looked for in the map of before, and in so many others in which most was seen."""


@dataclass(frozen=True, eq=False)
class View:
    """What was seen from a place in a map.

    Attributes:
        T_map_camera: the place.
        landmarks: in the frame of the camera that was there.
        points_m: (P, 3) points all over what it saw, in its frame.
    """

    T_map_camera: Transform
    landmarks: Landmarks
    points_m: FloatArray

    @functools.cached_property
    def eye_m(self) -> list[float]:
        """Where the camera was, in the map."""
        return self.T_map_camera.translation_m.tolist()

    @functools.cached_property
    def ahead_m(self) -> list[float]:
        """What was ahead of it, in the map."""
        return self.T_map_camera.apply(_AHEAD_M).tolist()


@dataclass(frozen=True, eq=False)
class Map:
    """A frame of reference that does not move, and how the camera stood in it last.

    Attributes:
        number: tells it from other maps.
        born: number of the update that began it.
        T_map_camera: the camera's pose when it was last in this map.
        view_m: (P, 3) points all over the frame that it saw when it came to stand there, in the camera's frame.
        up: (3,) unit normal of the plane that the objects stand on, in the map, or None.
        latest: what the frame before saw in it, None where it was not looked for landmarks.
        views: what was seen from some places all over it.
    """

    number: int
    born: int
    T_map_camera: Transform
    view_m: FloatArray
    up: FloatArray | None = None
    latest: View | None = None
    views: tuple[View, ...] = ()

    def with_landmarks(self, landmarks: Landmarks) -> Map:
        """The map after a frame with some landmarks was seen from where the camera is."""
        latest = View(self.T_map_camera, landmarks, self.view_m)
        views = self.views
        if all(_apart_m(latest, other) > _NEW_VIEW_M for other in views):
            views = (*views, latest)
        if len(views) > _MOST_VIEWS:
            # The one that another one is nearest to tells least; the first one is where all began.
            spare = min(range(1, len(views) - 1), key=lambda own: _apart_m(views[own], views[own + 1]))
            views = (*views[:spare], *views[spare + 1 :])
        return replace(self, latest=latest, views=views)

    def seen_by(self, frame: RgbdFrame) -> Map:
        """The map as what a frame shows is remembered of it, seen from where the camera is."""
        return replace(self, view_m=view_of(frame))

    def with_up(self, up_camera: FloatArray | None) -> Map:
        """The map after one more normal was seen, in the camera's frame; one that points elsewhere is ignored."""
        if up_camera is None:
            return self
        seen = self.T_map_camera.rotation @ up_camera
        if self.up is None:
            return replace(self, up=seen)
        if self.up @ seen < _UP_COS:
            return self
        mean = self.up + 0.1 * seen
        return replace(self, up=mean / np.linalg.norm(mean))


@dataclass(frozen=True)
class Agreement:
    """How a view agrees with a frame seen from a pose: shares of the view's points.

    Attributes:
        same: at the depth that was expected there.
        through: the frame measures something farther there, so that the point is gone or the pose is wrong.
        nearer: something nearer is there, which may hide the point.
    """

    same: float
    through: float
    nearer: float

    @property
    def is_still(self) -> bool:
        """Whether all this may be seen from this pose: much is the same, and little of the view is seen through.

        What comes between camera and scene hides some of the view; from a wrong pose one also sees past it.
        """
        return self.same >= _LEAST_SAME and self.through <= _MOST_SEEN_THROUGH * (self.same + self.through)

    @property
    def evidence(self) -> float:
        """From -2 to 1, for the pose."""
        return self.same - 2 * self.through - 0.5 * self.nearer


def view_of(frame: RgbdFrame) -> FloatArray:
    """Points (P, 3) all over the image, where there is depth, in the camera's frame."""
    height, width = frame.depth_m.shape
    rows = ((np.arange(_VIEW_WH[1]) + 0.5) * height / _VIEW_WH[1]).astype(np.int64)
    columns = ((np.arange(_VIEW_WH[0]) + 0.5) * width / _VIEW_WH[0]).astype(np.int64)
    at = np.ix_(rows, columns)
    depth_m = frame.depth_m[at].reshape(-1, 1).astype(np.float64)
    points_m = np.concatenate([frame.intrinsics.rays[at].reshape(-1, 2) * depth_m, depth_m], axis=1)
    return points_m[depth_m[:, 0] > 0]


def agreements(view_m: FloatArray, poses: Sequence[Transform], frame: RgbdFrame) -> list[Agreement]:
    """How a view agrees with a frame, for each pose of the view's camera in the frame's."""
    if not len(view_m):
        return [Agreement(0.0, 0.0, 0.0)] * len(poses)
    camera = frame.intrinsics
    points_m = np.stack([pose.apply(view_m) for pose in poses])
    depth_m = points_m[..., 2]
    ahead = depth_m > 0.05
    pixels = np.rint(camera.project(np.where(ahead[..., None], points_m, 1.0)))
    columns, rows = pixels[..., 0], pixels[..., 1]
    inside = ahead & (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    index = np.where(inside, rows * camera.width + columns, 0).astype(np.int64)
    measured_m = frame.depth_m.reshape(-1).take(index)
    inside &= measured_m > 0
    farther_m = measured_m - depth_m
    tolerance_m = np.maximum(_SAME_M, _SAME_SHARE * depth_m)
    same = (inside & (np.abs(farther_m) <= tolerance_m)).mean(axis=1)
    through = (inside & (farther_m > tolerance_m)).mean(axis=1)
    nearer = (inside & (farther_m < -tolerance_m)).mean(axis=1)
    return [Agreement(*shares) for shares in zip(same.tolist(), through.tolist(), nearer.tolist(), strict=True)]


def agreement_with(known: Map, T_map_camera: Transform, frame: RgbdFrame) -> Agreement:
    """How what was seen of a map from near a pose, and last, agrees with a frame seen from there.

    Shares of what of it is in view, of which there must be enough: a camera that comes back sees it from elsewhere.
    """
    here = View(T_map_camera, NO_LANDMARKS, known.view_m)
    nearest = sorted(known.views, key=lambda view: _apart_m(here, view))[:_NEAREST]
    points_m = [known.T_map_camera.apply(known.view_m), *(view.T_map_camera.apply(view.points_m) for view in nearest)]
    shares = agreements(np.concatenate(points_m), [T_map_camera.inverse()], frame)[0]
    in_view = max(shares.same + shares.through + shares.nearer, _LEAST_IN_VIEW)
    return Agreement(shares.same / in_view, shares.through / in_view, shares.nearer / in_view)


def _apart_m(first: View, second: View) -> float:
    """How far apart two views are, and what is ahead in them."""
    return math.dist(first.eye_m, second.eye_m) + math.dist(first.ahead_m, second.ahead_m)


def map_by_landmarks(
    maps: Sequence[Map],
    landmarks: Landmarks,
    tracks: Tracks,
    seen: Sightings,
    up: FloatArray | None,
    frame: RgbdFrame,
    update: int,
) -> Map | None:
    """The map that the camera is in, with its pose, told by what it sees of the picture's corners; None where no view
    tells.

    Few landmarks that agree tell a pose that is decimetres off, and many may be a hand's: a pose that the depth
    contradicts is only taken where all do, and only if many agree with it or it is a step from the one of before. Where
    few agree, or the depth does not, and enough objects agree with a pose near it, and the depth as well, it is that.
    The camera is rather in a map that was left than in one that began since, with the ids that the objects had there.

    Args:
        maps: that of the frame before first.
        tracks: of all maps, where they are expected.
        seen: in the camera's frame.
        up: (3,) normal of the support plane in the camera's frame, or None.
        update: number of this update; where more views are known than can be compared in a frame, the next ones have
            their turn.
    """
    if not maps or len(landmarks) < LEAST:
        return None
    left = [(known, view) for known in maps[1:] if known.born < maps[0].born for view in known.views]
    turn = range(update * _MOST_COMPARED, update * _MOST_COMPARED + min(len(left), _MOST_COMPARED))
    here = View(maps[0].T_map_camera, landmarks, maps[0].view_m)
    nearest = sorted(maps[0].views, key=lambda view: _apart_m(here, view))
    if maps[0].latest is not None:
        nearest.insert(1, maps[0].latest)
    latest = [] if maps[0].latest is None else [maps[0].latest]
    doubtful: tuple[int, Map] | None = None
    for compared, reach_m in (
        ([left[index % len(left)] for index in turn], np.inf),
        ([(maps[0], view) for view in nearest], np.inf),
        # Where a hand moves before most of the view, most corners are its own, and in the frame before were elsewhere.
        ([(maps[0], view) for view in latest], _STEP_M),
    ):
        best: tuple[int, Map] | None = None
        for known, view in compared:
            expected = view.T_map_camera.inverse() @ known.T_map_camera
            T_view_camera, agree = motion_between(landmarks, view.landmarks, expected, reach_m)
            if agree <= (best[0] if best is not None else 0):
                continue
            T_map_camera = view.T_map_camera @ T_view_camera
            if not is_contradicted(known, T_map_camera, frame):
                best = agree, replace(known, T_map_camera=T_map_camera)
                if agree >= _PLENTY:
                    break
            elif doubtful is None and (agree >= _PLENTY or _is_a_step(maps[0], known, T_map_camera)):
                doubtful = agree, replace(known, T_map_camera=T_map_camera)
        if best is not None:
            agree, found = best
            return found.seen_by(frame) if agree >= _PLENTY else _told_by_objects(found, tracks, seen, up, frame)
    return None if doubtful is None else _told_by_objects(doubtful[1], tracks, seen, up, frame)


def _told_by_objects(found: Map, tracks: Tracks, seen: Sightings, up: FloatArray | None, frame: RgbdFrame) -> Map:
    """A map with the pose near that found which enough objects agree with, and the depth as well; or as it is."""
    told = _aligned(rows_at(tracks, tracks.maps == found.number), seen, up, found, frame)
    enough = told.alignment.explained >= objects_that_tell(int(seen.placed.sum()))
    by_depth = agreement_with(found, found.T_map_camera, frame)
    if not told.is_before and enough and told.agreement.evidence >= by_depth.evidence:
        found = replace(found, T_map_camera=told.alignment.T_map_camera)
    return found.seen_by(frame)


def is_contradicted(known: Map, T_map_camera: Transform, frame: RgbdFrame) -> bool:
    """Whether the depth of a frame speaks against a pose in a map."""
    return agreement_with(known, T_map_camera, frame).evidence < 0


def _is_a_step(before: Map, known: Map, T_map_camera: Transform) -> bool:
    """Whether a camera comes from where it was in the frame before to a pose in a map without a jerk."""
    off_m = T_map_camera.apply(_AHEAD_M) - before.T_map_camera.apply(_AHEAD_M)
    return known.number == before.number and bool(np.linalg.norm(off_m) <= _STEP_M)


def map_of(
    maps: Sequence[Map],
    tracks: Tracks,
    seen: Sightings,
    up: FloatArray | None,
    frame: RgbdFrame,
    update: int,
    lost: bool,
) -> Map | None:
    """The map that the camera is in, with its pose, told by the objects or by the depth; None where neither tells.

    A map is left only when it does not explain what is seen: half of the objects that should be in sight must be there,
    or one of them and the depth of the frame before, seen from a pose near that of before.
    One that the camera comes back to must explain most of two or three objects, three of more, or all of the depth; two
    of more will do where what was seen of the depth from near there agrees, and with no other pose nearly as well.
    The camera is rather in such a map, with the ids that the objects had there, than in one that began since.

    Args:
        maps: that of the frame before first.
        tracks: of all maps, where they are expected.
        seen: in the camera's frame.
        up: (3,) normal of the support plane in the camera's frame, or None.
        update: number of this update.
        lost: whether landmarks could have told, and did not, so that the camera has moved far, or much is hidden.
    """
    best: tuple[int, Map] | None = None
    seen_there = {known.number: int(tracks.sightings[tracks.maps == known.number].sum()) for known in maps}
    others = sorted(maps[1:], key=lambda known: -seen_there[known.number])[:_OTHER_MAPS]
    for index, known in enumerate((*maps[:1], *others)):
        own = rows_at(tracks, tracks.maps == known.number)
        if index == 0 and not len(own):
            best = -1, known.seen_by(frame)  # nothing contradicts it
            continue
        if best is not None and known.born > maps[0].born:
            continue  # what began later than a map that explains the frame is no place to come back to
        told = _aligned(own, seen, up, known, frame)
        alignment, agreement, before = told.alignment, told.agreement, told.is_before
        still = before and agreement.is_still
        near = alignment.explained > 0 and alignment.shift_m <= _NEAR_M and agreement.is_still
        here = known if still else replace(known, T_map_camera=alignment.T_map_camera, view_m=view_of(frame))
        objects = int(seen.placed.sum())
        least = objects_that_tell(objects) if lost or index or alignment.shift_m > _NEAR_M else 0
        enough = _TOLD_BY_DEPTH if told.lead >= _CLEAR else _ENOUGH
        least = min(least, enough) if agreement.is_still and not before else least
        near &= not lost
        expected, gone = _in_sight(own, here.T_map_camera, frame)
        if still and alignment.explained == 0 and (index or (gone >= 2 and (objects >= 2 or lost))):
            continue  # a plain scene that looks the same elsewhere, as floors do: none of its objects is there
        if alignment.explained >= _ENOUGH:
            expected = min(expected, objects)
        if not (still or near) and alignment.explained < max(least, expected / 2):
            continue
        if alignment.explained == 0 and objects and agreement.evidence < _LEAST_EVIDENCE:
            continue
        if index == 0 and update - known.born > _YOUNG_UPDATES:
            return here
        back = index > 0 and agreement.is_still and alignment.explained >= max(enough, objects / 2)
        if best is None or back or alignment.explained > best[0]:
            best = alignment.explained, here
    return None if best is None else best[1]


def is_young(known: Map, maps: Sequence[Map], update: int) -> bool:
    """Whether a map began so lately that the camera may still be where an older one of these is, unrecognised."""
    return update - known.born <= _YOUNG_UPDATES and any(other.born < known.born for other in maps)


def objects_that_tell(seen: int) -> int:
    """How many of some objects that are seen must be where they should, to tell where a camera is that moved far.

    Two of many are a chance: any two that are as far apart as two others fit some pose.
    """
    return max(2, min(seen // 2 + 1, _ENOUGH))


@dataclass(frozen=True)
class _Aligned:
    """Where objects tell that a camera is.

    Attributes:
        alignment: the best pose.
        agreement: of the depth with that.
        is_before: whether it is the pose of before.
        lead: by how much, in objects, it is better than all poses that are elsewhere.
    """

    alignment: Alignment
    agreement: Agreement
    is_before: bool
    lead: float


def _aligned(tracks: Tracks, seen: Sightings, up: FloatArray | None, known: Map, frame: RgbdFrame) -> _Aligned:
    """The camera's pose in a map, that of before where no object tells."""
    objects, tracks = rows_at(seen, seen.placed), rows_at(tracks, tracks.look.placed)
    found = alignments(
        Objects(objects.place_m, objects.sigma_m**2, up),
        Objects(tracks.resting_m, tracks.look.sigma_m**2, known.up),
        likeness(objects, tracks.look) * (_UNRESTED + (1 - _UNRESTED) * np.minimum((tracks.rests - 1) / _RESTED, 1)),
        known.T_map_camera,
    )
    agreed = [
        *agreements(known.view_m, [Transform.identity()], frame),
        *(agreement_with(known, other.T_map_camera, frame) for other in found[1:]),
    ]
    totals = [other.score + _DEPTH_WEIGHT * own.evidence for other, own in zip(found, agreed, strict=True)]
    totals[0] += _STILL_BONUS * agreed[0].is_still
    best = int(np.argmax(totals))
    if found[best].explained == 0:
        best = 0  # a pose that no object asks for
    ahead_m = np.stack([other.T_map_camera.apply(_AHEAD_M) for other in found])
    elsewhere = np.linalg.norm(ahead_m - ahead_m[best], axis=1) > _OTHER_POSE_M
    lead = totals[best] - max((totals[index] for index in np.flatnonzero(elsewhere)), default=0.0)
    return _Aligned(found[best], agreed[best], best == 0, lead)


def _in_sight(tracks: Tracks, T_map_camera: Transform, frame: RgbdFrame) -> tuple[int, int]:
    """How many of the objects that were seen lately in a map should be in sight, were the camera there, and how many
    of these are gone from their places."""
    lately = tracks.last_seen >= tracks.last_seen.max(initial=0) - _LATELY_UPDATES
    often = tracks.sightings >= min(_KNOWN_SIGHTINGS, tracks.sightings.max(initial=0) / 2)
    rested = tracks.rests >= _RESTED_SIGHTINGS
    places = places_of(rows_at(tracks.look, lately & often & rested), T_map_camera.inverse(), frame)
    in_sight = places.in_sight() > 0.5
    return int(np.count_nonzero(in_sight)), int(np.count_nonzero(in_sight & places.empty()))
