"""Scenes as a Rerun recording (https://rerun.io): images, masks, cloud, boxes and grasps over time in one .rrd file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np

from instance_seg_ros.core.geometry import BOX_EDGES
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.cloud import cloud_of_frame
from instance_seg_ros.results.drawing import GRASPS_SHOWN, color_of_track, flags_of, gripper_corners_m
from instance_seg_ros.results.overlay import tag_of

APPLICATION = "instance_seg"
TIMELINE, FRAMES = "camera_time", "frame"
"""The stamps of the images, and the scenes one by one, as captures may have no stamps."""
_CLASS_COUNT = 0xFFFF
"""The classes of masks are the ids of tracks, from 1 on; Rerun takes 16 bits, of which 0 is the background."""
_POINT_RADIUS_M, _LINE_RADIUS_M = 0.001, 0.0008


class RerunRecording:
    """Writes scenes into a file, from `with` to its end. Poses are in the camera's optical frame, metres.

    Args:
        path: of the .rrd file; it is replaced, and goes where no scene is written.

    Raises:
        ImportError: rerun-sdk is not installed.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        import rerun
        import rerun.blueprint as layout

        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("wb").close()  # an OSError names the file; Rerun would only log it
        self._rerun, self._path = rerun, path
        self._written = 0
        self._shows_color = False
        self._classes: dict[int, tuple[str, tuple[int, ...]]] = {0: ("background", (0, 0, 0, 0))}
        self._recording = rerun.RecordingStream(APPLICATION)
        self._recording.save(path)
        self._recording.log("camera", rerun.ViewCoordinates.RDF, static=True)
        # In Rerun's own layout depth lies over the colour image and the cloud, in false colours.
        image = "camera/image"
        looked_at = layout.Vertical(
            layout.Spatial2DView(origin=image, contents=[f"{image}/color", f"{image}/masks"], name="colour and masks"),
            layout.Spatial2DView(origin=image, contents=[f"{image}/depth"], name="depth"),
        )
        space = layout.Spatial3DView(
            origin="camera", contents=["$origin/**", f"- {image}/**"], name="objects and grasps"
        )
        self._recording.send_blueprint(layout.Blueprint(layout.Horizontal(space, looked_at, column_shares=[2, 1])))

    def __enter__(self) -> RerunRecording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._recording.flush()
        self._recording.disconnect()
        if not self._written:
            self._path.unlink()

    def write(self, scene: Scene) -> None:
        """Adds a scene at the time of its image."""
        rerun, log, frame = self._rerun, self._recording.log, scene.frame
        camera, cloud = frame.intrinsics, cloud_of_frame(scene)
        self._name_tracks(scene)
        self._recording.set_time(FRAMES, sequence=self._written)
        self._written += 1
        self._recording.set_time(TIMELINE, timestamp=np.datetime64(frame.stamp_ns, "ns"))
        log(
            "camera/image",
            rerun.Pinhole(
                focal_length=[camera.fx, camera.fy],
                principal_point=[camera.cx + 0.5, camera.cy + 0.5],  # Rerun's pixels begin at their corners
                width=camera.width,
                height=camera.height,
            ),
        )
        if frame.color_rgb is not None:
            log("camera/image/color", rerun.Image(frame.color_rgb).compress())
        elif self._shows_color:
            log("camera/image/color", rerun.Clear(recursive=False))  # that of the frame before would stay
        self._shows_color = frame.color_rgb is not None
        log("camera/image/depth", rerun.DepthImage(frame.depth_m, meter=1.0))
        classes = np.array([0, *map(_class_of, scene.track_ids)], np.uint16)
        log("camera/image/masks", rerun.SegmentationImage(classes[scene.instances.label_image()]))
        log("camera/cloud", rerun.Points3D(cloud.points_m, colors=cloud.colors_rgb, radii=_POINT_RADIUS_M))
        placed = [(each, each.lifted.box) for each in scene.objects() if each.lifted.box is not None]
        log(
            "camera/objects",
            rerun.Boxes3D(
                centers=[box.T_camera_box.translation_m for _, box in placed],
                half_sizes=[np.asarray(box.size_m) / 2 for _, box in placed],
                quaternions=[rerun.Quaternion(xyzw=box.T_camera_box.quaternion_xyzw) for _, box in placed],
                colors=[color_of_track(each.track_id) for each, _ in placed],
                labels=["\n".join([tag_of(each), *flags_of(each.status)]) for each, _ in placed],
            ),
        )
        shown = [grasp for each, _ in placed for grasp in each.grasps[:GRASPS_SHOWN]]
        edges = np.array(BOX_EDGES)
        strips_m = [gripper_corners_m(grasp, scene.gripper)[:, edges].reshape(-1, 2, 3) for grasp in shown]
        log(
            "camera/grasps",
            rerun.LineStrips3D(
                np.concatenate(strips_m) if strips_m else [],
                colors=[_shade(grasp.quality) for grasp, strips in zip(shown, strips_m, strict=True) for _ in strips],
                radii=_LINE_RADIUS_M,
            ),
        )

    def _name_tracks(self, scene: Scene) -> None:
        """Gives the masks of new tracks the colours of their objects.

        Rerun keeps one list of them for all times, and ids begin anew with each capture: the id alone names them.
        """
        new = _named(scene.track_ids)
        if new.keys() - self._classes.keys() or not self._written:
            # Each list is written whole: with as many of the next ids in it as there were, all lists together take no
            # more than a few times what the last one does, however many ids a long capture has.
            newest = max(scene.track_ids, default=0)
            ahead = _named(range(newest + 1, newest + len(self._classes)))
            self._classes = ahead | self._classes | new
            classes = [(class_id, *named) for class_id, named in sorted(self._classes.items())]
            self._recording.log("camera/image/masks", self._rerun.AnnotationContext(classes), static=True)


def _named(track_ids: Iterable[int]) -> dict[int, tuple[str, tuple[int, ...]]]:
    """Name and colour of the masks of some tracks, by class."""
    return {_class_of(track_id): (f"#{track_id}", color_of_track(track_id)) for track_id in track_ids}


def _class_of(track_id: int) -> int:
    """The class of a track's mask; ids that are 65,535 apart share one."""
    return (track_id - 1) % _CLASS_COUNT + 1


def _shade(quality: float) -> tuple[int, int, int]:
    """From red (0) to green (1)."""
    return round(255 * (1 - quality)), round(255 * quality), 25
