"""Which instance continues which track: what a pairing costs, and the cheapest pairing of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.masks import mask_ious
from instance_seg_ros.tracking.arrays import rows_at
from instance_seg_ros.tracking.frame_before import Shared
from instance_seg_ros.tracking.sightings import (
    Sightings,
    bounds_exclude,
    color_differences,
    palette_difference,
    size_differences,
)
from instance_seg_ros.tracking.tracks import INSIDE, RESTING, Tracks

FloatArray = NDArray[np.float64]

UNMATCHABLE = 1e6
_MIN_MASK_IOU = 0.25
"""Without 3D on both sides, masks that overlap less than this are different objects."""
_EVERY = 3
"""Every so many of the points are enough to tell how much of an object lies in a box."""
_BOX_MARGIN_M, _LARGEST_MARGIN_M = 0.005, 0.04
_SIGHT_TOLERANCE_M, _SIGHT_TOLERANCE_SHARE = 0.02, 0.02
_MIN_SHARE_IN_VIEW = 0.25
"""Where less of a place is in the image, it says nothing about the object."""
_UNKNOWN_SIZE = 0.25
"""What it costs that one of the two has no 3D, so that sizes tell nothing."""
_ROUGH_COLOR, _ROUGH_FALLS = 0.3, 0.3
_WITHOUT_3D = 0.85
"""What has no 3D is so much less like a track that has: it gives way to an instance with 3D."""
_APART, _SIZE, _FALLS, _COLOR = 0.4, 0.15, 0.2, 0.45
_BEFORE_M = 0.06
"""What is measured so much before a point hides it, and is not the object, unless nothing right was measured of it."""
_LEAST_IN_SIGHT = 0.1
"""Of a track with less in sight, a few points tell little."""
_TELLS_COLOR = 0.2
"""Where mean colours differ by more, and one is seen in part, the colours themselves are compared."""
_KEPT, _KEPT_COST, _OTHER_KEPT = 0.4, 0.6, 0.5
"""What covers so much of the mask of the frame before (IoU) costs no more than the second where that is next to
nothing; and the third, at most, costs what covers less of a mask than another one does."""
_TOLD, _TOLD_SHARE = 0.5, 0.5
"""Where so much of a track's surface in sight is measured on one instance, what has less than this share of it is not
the track, whatever its mask covered in the frame before."""
_MUCH_LIES, _MUCH_OLDER = 0.3, 2
"""Of two tracks that an instance shows it is the one that was seen so many times more often, where it shows so much of
its surface."""
_SAME_MASK, _PART_OF_MASK = 0.7, 0.3
"""What covers so much of it may be in a shadow now; and so much, may have another shape now."""
_PIECE, _NEARLY = 0.4, 0.1
"""What it costs to be next to nothing of an object of which another instance shows much, that is not rather another
object's by the second."""
_OLDER = 3
"""Seen so many times more often, one of two objects of which one lies in the other is the object, the other a piece."""
_FITS_WELL = 0.2
_DEAREST = 0.8
"""Far away, of another size and colour, and not where the surface was: not all of it together."""
OTHER_COLOR, _OTHER_SIZE = 0.6, 0.55
"""What differs by more is another object, wherever it is: one in a thousand sightings of the same one does."""
_IN_PLACE, _IN_SHADOW, _KNOWN_COLOR = 0.4, 0.85, 5
"""What shows so much of the surface and lies in the box may differ so much in colour, as in a shadow, and in size; in
colour only if the track was seen more often than the third: others are of hands, and objects are set down where these
were."""
_AGAIN_SIZE, _AGAIN_COLOR = 0.35, 0.3
"""What differs by one of them, or by parts of both that make up one, is not taken for an object that was lost."""
_LIFTED = 0.3
"""So unlike counts what is seen near a place that is just empty, of the same colour, whatever side it shows now."""
_CLEARER = 0.5
"""By so much, of the difference at which it is not taken for it any more, another one must differ more."""
_PRICE = 1.0
"""What it costs to leave an instance and a track alone: no pair may be worse, nor make others worse by more."""
_NEWCOMER = 0.3
"""What this costs on the first sighting, and less on each one more: a piece of an object gives way to the object."""
_STAYED_SHARE = 0.75
"""Where so many of the points in sight are measured where they were, the object has not moved away."""
_FLAT = 2
"""Lower than so many tolerances of depth, the place of an object that has gone looks as if it were there."""
_EXPLAINED = 0.3
"""What it costs to come from elsewhere to where an instance lies in the box of another track: it is rather a piece."""
_STALE, _HIDDEN = 5, 0.25
"""What was not seen for more updates is elsewhere only if it looks alike, and so is what rested where less than this
share of its surface is in sight: what hides it is another object."""
_LATELY = 3
"""What was seen to move no more updates ago is near to where it was."""
_ELSEWHERE, _HALF_IN_PLACE = 0.1, 0.5
"""What shows less of a track's surface than the first, and lies in its box with less of its own than the second, is
elsewhere: a hand may be where an object was that it pushes aside."""


@dataclass(frozen=True, eq=False)
class Places:
    """Where the remembered points of T tracks are in a frame; M of them fall into the image.

    Attributes:
        counts: (T,) int64, how many points each track has.
        owner: (M,) int64, the position of each point's track.
        rows, columns: (M,) int64, its pixel.
        farther_m: (M,) float64, how much deeper than the point the measurement at its pixel is.
        tolerance_m: (M,) float64, up to this that is the same place.
    """

    counts: NDArray[np.int64]
    owner: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    farther_m: FloatArray
    tolerance_m: FloatArray

    def shares(self, masks: NDArray[np.bool_], placed: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
        """(T, N) shares of each track's points that fall into each mask, and that lie on what is measured there.

        A point that what is measured hides falls into no mask of what has 3D (`placed`, (N,)): a hand is no object.
        """
        count = len(masks)
        hits = masks[:, self.rows, self.columns] & (~placed[:, None] | (self.farther_m >= -_BEFORE_M))
        label = (hits * np.arange(1, count + 1)[:, None]).max(axis=0, initial=0)
        key = self.owner * (count + 1) + label
        there = np.abs(self.farther_m) <= self.tolerance_m
        falls, lies = (
            np.bincount(own, minlength=len(self.counts) * (count + 1)).reshape(-1, count + 1)[:, 1:]
            / np.maximum(self.counts, 1)[:, None]
            for own in (key, key[there])
        )
        return falls, lies

    def in_sight(self) -> FloatArray:
        """(T,) share of each track's points that are in view with nothing before them."""
        return self._counted(self.farther_m >= -self.tolerance_m) / np.maximum(self.counts, 1)

    def unmoved(self) -> NDArray[np.bool_]:
        """(T,) whether what is in sight of a track's surface is mostly measured where it was."""
        return self._same() >= 0.5 * self._counted(self.farther_m >= -self.tolerance_m)

    def stayed(self, tracks: Sightings) -> NDArray[np.bool_]:
        """(T,) whether most of a track's surface is in sight and measured where it was, so that it has not moved.

        Of what is flat nobody can tell: what it lies on is measured at nearly the same depth.
        """
        tolerance_m = np.zeros(len(self.counts))
        tolerance_m[self.owner] = self.tolerance_m  # of any of a track's points: they are nearly the same
        stands_out = tracks.sides_m[:, 2] > _FLAT * tolerance_m
        in_sight = self._counted(self.farther_m >= -self.tolerance_m)
        enough = (in_sight >= 0.5 * self.counts) & (in_sight > 0)
        return stands_out & enough & (self._same() >= _STAYED_SHARE * in_sight)

    def _same(self) -> NDArray[np.int64]:
        return self._counted(np.abs(self.farther_m) <= self.tolerance_m)

    def _counted(self, points: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(T,) how many of some points (M,) are each track's."""
        return np.bincount(self.owner[points], minlength=len(self.counts))

    def empty(self) -> NDArray[np.bool_]:
        """(T,) whether enough of a track's place is in view, and most of that is empty; true for an unknown place."""
        in_view = np.bincount(self.owner, minlength=len(self.counts))
        seen_through = self._counted(self.farther_m > self.tolerance_m)
        place_is_empty = (in_view >= _MIN_SHARE_IN_VIEW * self.counts) & (seen_through > 0.5 * in_view)
        return place_is_empty | (self.counts == 0)


def places_of(tracks: Sightings, T_camera_map: Transform, frame: RgbdFrame) -> Places:
    """Where the points of the tracks, in the map, are in a frame."""
    measured = tracks.has_points
    points_m = T_camera_map.apply((tracks.somewhere_m[:, None] + tracks.points_m)[measured].reshape(-1, 3))
    owner, ahead = np.repeat(np.flatnonzero(measured), tracks.points_m.shape[1]), points_m[:, 2] > 1e-3
    owner, points_m = owner[ahead], points_m[ahead]
    columns, rows = np.rint(frame.intrinsics.project(points_m)).T
    inside = (columns >= 0) & (columns < frame.intrinsics.width) & (rows >= 0) & (rows < frame.intrinsics.height)
    rows, columns, depth_m = rows[inside].astype(np.int64), columns[inside].astype(np.int64), points_m[inside, 2]
    return Places(
        measured * tracks.points_m.shape[1],
        owner[inside],
        rows,
        columns,
        frame.depth_m[rows, columns] - depth_m,
        np.maximum(_SIGHT_TOLERANCE_M, _SIGHT_TOLERANCE_SHARE * depth_m),
    )


def likeness(first: Sightings, second: Sightings) -> FloatArray:
    """(first, second) in [0, 1], how much two objects look alike wherever they are; 0 where either has no 3D."""
    alike = np.maximum(1 - size_differences(first, second) / 0.6, 0) * (1 - color_differences(first, second))
    return np.nan_to_num(alike)


def _margin_m(tracks: Sightings) -> FloatArray:
    """(T, 1) so much farther than its box says may an object reach."""
    return np.minimum(_BOX_MARGIN_M + 2 * tracks.sigma_m, _LARGEST_MARGIN_M)[:, None]


def contained(boxes: Sightings, seen: Sightings) -> FloatArray:
    """(boxes, seen) share of the points of what is seen that lie in a box."""
    return np.asarray((_outside_m(boxes, seen) <= 0).mean(axis=2))


def gaps_m(boxes: Sightings, seen: Sightings) -> FloatArray:
    """(boxes, seen) mean distance of the points of what is seen from a box; NaN where there is no box or no point."""
    return np.asarray(np.maximum(_outside_m(boxes, seen), 0).mean(axis=2))


def _outside_m(boxes: Sightings, seen: Sightings) -> FloatArray:
    """(boxes, seen, P) how far some of the points lie outside of a box, along the axis along which that is most."""
    some_m = seen.points_m[:, ::_EVERY]
    points_m = (seen.somewhere_m[:, None] + some_m).reshape(-1, 3)
    count = len(boxes)
    # All axes of all boxes in one product: (P, T, 3) coordinates along them.
    axes = boxes.rotation.transpose(1, 0, 2).reshape(3, 3 * count)
    centres_m = np.einsum("ti,tij->tj", boxes.place_m + boxes.box_m, boxes.rotation)
    local_m = (points_m @ axes).reshape(len(points_m), count, 3) - centres_m
    outside_m = (np.abs(local_m) - boxes.half_m - _margin_m(boxes)).max(axis=2)
    return np.asarray(outside_m).reshape(len(seen), some_m.shape[1], count).transpose(2, 0, 1)


def looked_through(tracks: Sightings, seen: Sightings, eye_m: FloatArray) -> FloatArray:
    """(tracks, seen) share of the rays of what is seen that meet the box of a track; 0 where there are none."""
    origin = ((eye_m - tracks.place_m - tracks.box_m)[:, None] @ tracks.rotation)[:, None]  # (T, 1, 1, 3)
    directions = seen.rays @ tracks.rotation[:, None]  # (T, N, RAYS, 3)
    half_m = (tracks.half_m + _margin_m(tracks))[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = (-half_m - origin) / directions, (half_m - origin) / directions
        enter, leave = np.minimum(*ends).max(axis=3), np.maximum(*ends).min(axis=3)
    return ((enter <= leave) & (leave > 0)).mean(axis=2)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What speaks for and against each of N instances being each of T tracks; (P,) of P pairs in place of (T, N).

    Attributes:
        lies: (T, N) the second of the shares of `Places.shares`.
        hits: (T, N) share of what is in sight of each track that falls into each mask.
        kept: (T, N) overlap of the masks of the frame before with these (`Shared.iou`).
        smaller: (T, N) whether an instance is not the largest piece of a track, or shows rather another one.
        inside: (T, N) shares of `contained`.
        size, color: (T, N) `size_differences` and `color_differences`.
        excluded: (T, N) of `bounds_exclude`.
        stayed: (T,) whether a track is seen to be where it was (`Places.stayed`), and so is nothing elsewhere.
        unmoved: (T,) of `Places.unmoved`.
        hidden: (T,) whether a track rests and little of it is in sight.
        gone: (T,) whether a track's place is known and seen empty.
    """

    lies: FloatArray
    hits: FloatArray
    kept: FloatArray
    smaller: NDArray[np.bool_]
    inside: FloatArray
    size: FloatArray
    color: FloatArray
    excluded: NDArray[np.bool_]
    stayed: NDArray[np.bool_]
    unmoved: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    gone: NDArray[np.bool_]

    @property
    def from_elsewhere(self) -> NDArray[np.bool_]:
        """(T, N) whether an instance is where nothing of a track was expected."""
        return np.asarray((self.hits < _ELSEWHERE) & (self.inside < _HALF_IN_PLACE))

    @property
    def unlikeness(self) -> FloatArray:
        """(T, N) by size and colour together; from 1 on nobody would take the one for the other elsewhere."""
        return np.asarray(self.size / _AGAIN_SIZE + self.color / _AGAIN_COLOR)

    def given_up(
        self, tracks: NDArray[np.int64], seen: NDArray[np.int64], lost: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """(P,) whether what continues P tracks is much less like these than like one that is lost (T,), and is not
        where they were."""
        unlikeness = np.where(lost[:, None] & ~self.excluded, self.unlikeness, np.inf).min(axis=0, initial=np.inf)[seen]
        clearer = self.unlikeness[tracks, seen] >= unlikeness + _CLEARER
        return np.asarray(clearer & (self.lies[tracks, seen] < _IN_PLACE) & (self.kept[tracks, seen] < _SAME_MASK))

    def of_pairs(self, tracks: NDArray[np.int64], seen: NDArray[np.int64]) -> Comparison:
        """That of P pairs: (P,) arrays."""
        return Comparison(
            self.lies[tracks, seen],
            self.hits[tracks, seen],
            self.kept[tracks, seen],
            self.smaller[tracks, seen],
            self.inside[tracks, seen],
            self.size[tracks, seen],
            self.color[tracks, seen],
            self.excluded[tracks, seen],
            self.stayed[tracks],
            self.unmoved[tracks],
            self.hidden[tracks],
            self.gone[tracks],
        )


def compared(known: Tracks, seen: Sightings, places: Places, masks: NDArray[np.bool_], shared: Shared) -> Comparison:
    """Tracks, where they are expected, with what is seen, in their map and under masks (N, H, W)."""
    tracks = known.look
    falls, lies = places.shares(masks, seen.placed)
    in_sight = np.maximum(places.in_sight(), _LEAST_IN_SIGHT)[:, None]
    hits = np.maximum(falls, np.minimum(lies / in_sight, 1))
    inside, color = contained(tracks, seen), color_differences(tracks, seen)
    # Of what is seen in part the mean colour may be another one, but it has none that the whole has not.
    in_part = seen.partial[None] | tracks.partial[:, None]
    for row, column in zip(*np.nonzero(in_part & (color > _TELLS_COLOR) & (inside >= INSIDE)), strict=True):
        of_part = palette_difference(tracks.point_colors[row], seen.point_colors[column])
        color[row, column] = min(color[row, column], of_part)
    size, excluded = size_differences(tracks, seen), bounds_exclude(tracks, seen)
    # Where its surface is measured on another instance, or its mask was not its own, the mask tells nothing.
    told = np.where(seen.placed, np.minimum(lies / in_sight, 1), 0)
    most = told.max(axis=1, initial=0, keepdims=True)
    stayed, unmoved = places.stayed(tracks), places.unmoved()
    ran_over = (known.ran_over & unmoved)[:, None]
    kept = np.where(ran_over | ((most >= _TOLD) & (told < _TOLD_SHARE * most)), 0, shared.iou)
    broke = shared.smaller_pieces() & ~ran_over & ((most < _TOLD) | (told < most))
    smaller = broke | shared.smaller_parts(known.sightings) | newer_in_one(known.sightings, told, lies, inside)
    hidden = (known.rests >= RESTING) & (places.in_sight() < _HIDDEN)
    gone = places.empty() & tracks.placed
    return Comparison(lies, hits, kept, smaller, inside, size, color, excluded, stayed, unmoved, hidden, gone)


def newer_in_one(often: NDArray[np.int64], told: FloatArray, lies: FloatArray, inside: FloatArray) -> NDArray[np.bool_]:
    """(tracks, seen) whether an instance shows a track, and mostly another one that was seen much more often (T,): two
    objects under one mask, or an object whose piece the newer one was."""
    shows = told >= _TOLD
    mostly = shows & (lies >= _MUCH_LIES) & (inside >= _HALF_IN_PLACE)
    oldest = np.where(mostly, often[:, None], 0).max(axis=0, initial=0)
    return np.asarray(shows & (_MUCH_OLDER * often[:, None] <= oldest))


def costs(
    tracks: Tracks,
    seen: Sightings,
    comparison: Comparison,
    eye_m: FloatArray,
    max_distance_m: float,
    waited: NDArray[np.int64],
) -> FloatArray:
    """(tracks, seen) cost from 0, `UNMATCHABLE` where the two cannot be the same object.

    Distance of the centres, difference of the boxes and of the colours, and how little of the track's surface falls
    into the mask. What covers the mask that a track had in the frame before continues it, whatever became of its shape:
    of a mask that broke the largest piece, and of masks that ran together the one that has the largest part. Where
    either is seen in part and most of it lies in the other, it is a part of it, however far apart their centres are.
    What has no 3D is near what was measured of it, or where its mask is, and a part of what the rays through its pixels
    meet. What looks quite different is another object, also in the same place; and so is what is elsewhere, where the
    surface of the track is still measured in its place, or is hidden while another track's place is empty.

    Args:
        tracks: where they are expected. What is in hands stops at any time, so that where they were last will do, too.
        seen: in the map of the tracks.
        comparison: of the two.
        eye_m: (3,) where the camera is.
        max_distance_m: up to this, and two standard deviations of a place more, but at most twice as far, a track is
            continued.
        waited: (tracks,) updates since each was seen.
    """
    look, inside = tracks.look, comparison.inside
    distance = np.sqrt(
        np.minimum(*(_squared_distances(at_m, seen.place_m) for at_m in (look.place_m, tracks.before_m)))
    )
    distance /= max_distance_m
    within = np.maximum(comparison.lies, inside)
    part = (seen.partial[None] | look.partial[:, None]) & (within >= INSIDE)
    cost = _APART * np.where(part, np.minimum(distance, 1) * (1 - inside), distance)
    cost += _SIZE * comparison.size + _FALLS * (1 - comparison.hits) + _COLOR * comparison.color
    reach = 1 + np.minimum(2 * seen.sigma_m / max_distance_m, 1)
    from_elsewhere, other_looks = comparison.from_elsewhere, _other_looks(tracks, comparison)
    cost += _EXPLAINED * np.where(from_elsewhere, inside.max(axis=0, initial=0), 0)
    unlike = (comparison.size > _AGAIN_SIZE) | (comparison.color > _AGAIN_COLOR)
    # What falls or is held before an object hides some of its surface, and is not measured there.
    not_there = (comparison.lies < _ELSEWHERE) & (inside < _HALF_IN_PLACE)
    elsewhere = comparison.stayed[:, None] & (not_there | (unlike & (comparison.lies < _IN_PLACE)))
    stale = from_elsewhere & unlike & ((waited > _STALE) | comparison.hidden)[:, None]
    too_far = ~part & (distance > reach)
    cost[too_far | (~part & (elsewhere | stale)) | (cost > _DEAREST)] = UNMATCHABLE
    # Where nothing of either was it is rather the one that left its place empty than one that is hidden where it rests.
    left = comparison.gone[:, None] & ~other_looks & (cost < _PRICE)
    cost[from_elsewhere & (comparison.hidden & ~comparison.gone)[:, None] & left.any(axis=0)] = UNMATCHABLE
    unplaced = np.isnan(distance)
    if unplaced.any():
        left_place = comparison.gone | (tracks.missed > 0) | (tracks.rests <= RESTING)
        in_motion = left_place & (waited <= _LATELY)
        rough = _costs_without_3d(tracks, seen, comparison, eye_m, max_distance_m, in_motion, unplaced)
        cost[unplaced] = rough[unplaced]
    cost = _with_kept(cost, np.where(too_far, 0, comparison.kept), comparison.color)
    cost += _NEWCOMER / tracks.sightings[:, None]
    cost[_pieces_of_what_is_shown(tracks, cost, comparison.hits) | other_looks | comparison.smaller] = UNMATCHABLE
    # What is rather another track's shows nothing of this one.
    own = cost <= cost.min(axis=0, initial=UNMATCHABLE) + _NEARLY
    return cost + _PIECE * (1 - _largest_first(np.where(own, within * seen.pixels, 0))) * (within >= INSIDE)


def _costs_without_3d(
    tracks: Tracks,
    seen: Sightings,
    comparison: Comparison,
    eye_m: FloatArray,
    max_distance_m: float,
    in_motion: NDArray[np.bool_],
    unplaced: NDArray[np.bool_],
) -> FloatArray:
    """(tracks, seen) costs where the one or the other has no 3D: what was measured of it lies in or near the other's
    box, or near where the track was seen last, or the rays through its pixels meet that, or the masks overlap.

    What is only near a track in its place, or one that rests hidden, is not that where it is near one that moved lately
    (`in_motion`, (tracks,)).
    """
    look, color, hits = tracks.look, comparison.color, comparison.hits
    gap = np.fmin(gaps_m(look, seen), gaps_m(seen, look).T) / max_distance_m
    rough, before = (
        np.sqrt(_squared_distances(at_m, seen.somewhere_m)) / max_distance_m
        for at_m in (look.somewhere_m, tracks.before_m)
    )
    gap = np.fmin(np.where(np.isnan(gap), rough, gap), before)
    near = _UNKNOWN_SIZE + _APART * gap + _FALLS * (1 - hits) + _COLOR * color
    alike = np.where(gap <= 1, np.maximum(1 - near, 0), 0)  # where the one is nowhere, nothing is near
    at_rest = ((comparison.stayed | comparison.hidden) & look.placed)[:, None] & comparison.from_elsewhere
    alike[at_rest & (alike[in_motion] > 0).any(axis=0)] = 0
    overlap = _overlaps(look.masks, seen.masks, unplaced)
    overlap[overlap < _MIN_MASK_IOU] = 0
    through = np.maximum(looked_through(look, seen, eye_m), looked_through(seen, look, eye_m).T)
    through[through < INSIDE] = 0
    alike = np.maximum(alike, np.maximum(overlap, through * (1 - _ROUGH_COLOR * color - _ROUGH_FALLS * (1 - hits))))
    alike *= np.where(look.placed, _WITHOUT_3D, 1)[:, None]
    return np.where(alike > 0, 1 - alike, UNMATCHABLE)


def _with_kept(cost: FloatArray, kept: FloatArray, color: FloatArray) -> FloatArray:
    """The costs, given which masks of the frame before these ones cover."""
    cost = np.where(kept >= _KEPT, np.minimum(cost, _KEPT_COST * (1 - kept) + _COLOR * color), cost)
    of_track, of_seen = kept.max(axis=1, initial=0, keepdims=True), kept.max(axis=0, initial=0, keepdims=True)
    cost += _OTHER_KEPT * (of_track - kept) * (of_track >= _KEPT)
    return cost + _OTHER_KEPT * (of_seen - kept) * (of_seen >= _KEPT)


def _other_looks(tracks: Tracks, comparison: Comparison) -> NDArray[np.bool_]:
    """(tracks, seen) whether the two look so different that they are no one object."""
    in_place = (comparison.hits >= _IN_PLACE) & (comparison.inside >= INSIDE)
    may_be_shadow = in_place | (comparison.kept >= _SAME_MASK)
    may_be_shadow &= (tracks.sightings > _KNOWN_COLOR)[:, None]
    other_color = comparison.color > np.where(may_be_shadow, _IN_SHADOW, OTHER_COLOR)
    both = (comparison.size > _AGAIN_SIZE) & (comparison.color > _AGAIN_COLOR) & (comparison.lies < _IN_PLACE)
    in_place |= comparison.kept >= _PART_OF_MASK
    other_color |= both & (comparison.kept < _PART_OF_MASK)
    other_shape = (comparison.size > _OTHER_SIZE) | (comparison.excluded & (comparison.hits < _IN_PLACE))
    return np.asarray(other_color | (~in_place & other_shape))


def _pieces_of_what_is_shown(tracks: Tracks, cost: FloatArray, hits: FloatArray) -> NDArray[np.bool_]:
    """(tracks, seen) whether a track began as a piece of another one, of which an instance shows most in sight.

    Such an instance is the object again, and not its piece, even if it looks like that.
    """
    pieces = np.zeros(cost.shape, dtype=bool)
    matchable = (cost < UNMATCHABLE).any(axis=1) & tracks.look.placed
    young = matchable & (_OLDER * tracks.sightings <= tracks.sightings.max(initial=0))
    shown = tracks.look.placed & (hits >= INSIDE).any(axis=1)
    rows, others = np.flatnonzero(young), np.flatnonzero(shown)
    if len(rows) and len(others):
        older = tracks.sightings[others][:, None] >= _OLDER * tracks.sightings[rows]
        is_piece = older & (contained(rows_at(tracks.look, others), rows_at(tracks.look, rows)) >= INSIDE)
        pieces[rows] = (is_piece[:, :, None] & (hits[others] >= INSIDE)[:, None]).any(axis=0)
    return pieces


def _largest_first(shown: FloatArray) -> FloatArray:
    """(tracks, seen) 1 for what shows most of a track, and less the less other instances show of it."""
    return shown / np.maximum(shown.max(axis=1, initial=0, keepdims=True), 1)


def _squared_distances(first_m: FloatArray, second_m: FloatArray) -> FloatArray:
    difference_m = first_m[:, None] - second_m
    return np.asarray(np.einsum("tni,tni->tn", difference_m, difference_m))


def match(
    cost: FloatArray, scores: NDArray[np.float32], first_pass_score: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cheapest pairs of instances (M,) and tracks (M,).

    Instances of high score choose first among the tracks that fit them well; the rest is paired all together.
    """
    taken = np.zeros(len(scores), dtype=bool), np.zeros(len(cost), dtype=bool)
    pairs = []
    for chooses, dearest in ((scores >= first_pass_score, _FITS_WELL), (np.ones(len(scores), dtype=bool), _PRICE)):
        columns, rows = np.flatnonzero(chooses & ~taken[0]), np.flatnonzero(~taken[1])
        part = np.minimum(cost[np.ix_(rows, columns)], dearest)
        row, column = linear_sum_assignment(part)
        paired = part[row, column] < dearest
        pairs.append((columns[column[paired]], rows[row[paired]]))
        for side, own in zip(taken, pairs[-1], strict=True):
            side[own] = True
    instances, tracks = zip(*pairs, strict=True)
    return np.concatenate(instances), np.concatenate(tracks)


def same_objects(first: Sightings, second: Sightings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs, (P,) of the first and (P,) of the second, that are one object: most of the one lies in the other's box,
    and nothing of their colours or of the bounds of their sides speaks against it."""
    within = np.maximum(contained(first, second), contained(second, first).T)
    same = (within >= INSIDE) & (color_differences(first, second) <= _AGAIN_COLOR) & ~bounds_exclude(first, second)
    rows, columns = linear_sum_assignment(np.where(same, -within, 0))
    paired = same[rows, columns]
    return rows[paired], columns[paired]


def older_first(
    cost: FloatArray,
    comparison: Comparison,
    often: NDArray[np.int64],
    known_for: NDArray[np.int64],
    waited: NDArray[np.int64],
    rows: NDArray[np.int64],
    positions: NDArray[np.int64],
) -> NDArray[np.int64]:
    """(M,) the tracks that M instances (rows) continue in place of those at some positions (M,): the older one, where
    that looks like the instance, is not seen elsewhere and would have been continued, were the younger not there.

    Hands, and pieces of masks that broke, leave tracks of a few sightings, and what shows another part of an object is
    often nearer to one of these. But what was seen since the younger one is there is another object, unless its own
    surface shows where the instance is. If the younger one is seen to be where it was, that must be measured there: the
    surface of what was taken away falls into the mask of what stands behind.

    Args:
        cost: (tracks, seen) of `costs`.
        comparison: of the two.
        often: (tracks,) how often each was seen.
        known_for: (tracks,) updates since each was seen first.
        waited: (tracks,) updates since each was seen last.
    """
    free = np.ones(len(often), dtype=bool)
    free[positions] = False
    result = positions.copy()
    if not free.any():
        return result
    may_be = (cost < _PRICE) & (comparison.unlikeness < 1) & ~comparison.excluded  # False without 3D
    for pair in np.argsort(often[positions], kind="stable").tolist():
        row, sightings = rows[pair], often[positions[pair]]
        shows = comparison.hits[:, row] >= _ELSEWHERE
        if comparison.stayed[positions[pair]]:
            shows &= (comparison.lies[:, row] >= _ELSEWHERE) | (comparison.inside[:, row] >= _HALF_IN_PLACE)
        beside = (waited <= known_for[positions[pair]]) & ~shows
        older = np.flatnonzero(free & may_be[:, row] & (often >= _OLDER * sightings) & ~beside)
        if len(older):
            result[pair] = older[cost[older, row].argmin()]
            free[result[pair]] = False
    return result


def seen_again(
    tracks: Tracks,
    seen: Sightings,
    comparison: Comparison,
    lost: NDArray[np.bool_],
    reach_m: FloatArray,
    lifted_m: FloatArray,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of instances (M,) and tracks (M,) that were lost and are seen again elsewhere: alike in size and colour.

    Without colour they must be twice as alike in size.
    Only what no other instance and no other track is nearly as like: of equal objects nobody can tell which is which.

    Args:
        tracks: where they are expected.
        seen: in the map of the tracks.
        comparison: of the two.
        lost: (tracks, seen) whether the one may be the other: neither is known to be something else.
        reach_m: (tracks,) so far away may each be.
        lifted_m: (tracks,) so far away may each be if it shows another side, as in a hand that lifts it.
    """
    squared_m2 = _squared_distances(tracks.look.place_m, seen.place_m)  # NaN, and so nowhere near, where one is unknown
    has_color = ~np.isnan(tracks.look.color).any(axis=1, keepdims=True) & ~np.isnan(seen.color).any(axis=1)
    color = comparison.color / _AGAIN_COLOR
    unlike = np.where(has_color, comparison.unlikeness, 2 * comparison.size / _AGAIN_SIZE)
    unlike[comparison.excluded] = np.inf
    # What a hand lifts shows other sides, and its box is another one.
    lifted = has_color & (squared_m2 <= lifted_m[:, None] ** 2) & (comparison.size <= _OTHER_SIZE)
    unlike = np.minimum(unlike, np.where(lifted, _LIFTED + color, np.inf))
    unlike[~lost | ~(squared_m2 <= reach_m[:, None] ** 2)] = np.inf
    rows, columns = np.nonzero(unlike < 1)
    least = unlike[rows, columns]
    clear = np.minimum(_second(unlike, 1)[rows], _second(unlike, 0)[columns]) >= least + _CLEARER
    return columns[clear], rows[clear]


def _second(values: FloatArray, axis: int) -> FloatArray:
    """The least but one along an axis, inf where there is only one."""
    if values.shape[axis] < 2:
        return np.full(values.shape[1 - axis], np.inf)
    return np.asarray(np.partition(values, 1, axis=axis).take(1, axis=axis))


def _overlaps(tracks: NDArray[np.bool_], seen: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> FloatArray:
    """(tracks, seen) IoU of the masks where it is wanted, else 0."""
    overlaps = np.zeros(wanted.shape)
    rows = np.flatnonzero(wanted.any(axis=1))
    if len(rows):
        overlaps[rows] = np.where(wanted[rows], mask_ious(tracks[rows], seen), 0)
    return overlaps
