"""Scenes as ROS messages, for any library of message classes: rclpy's in the node, `rosbags`' without ROS.

A `MessageFactory` makes a message from its type name and all of its fields. Arrays of primitives are handed to it as
NumPy arrays, arrays of messages as lists, everything else as Python's own types. Nothing here imports ROS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instance_seg_ros.core.geometry import OrientedBox, Plane, Transform
from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.grasping.grasp import Grasp
from instance_seg_ros.grasping.robot import for_robot
from instance_seg_ros.lifting import ShapeMesh
from instance_seg_ros.lifting.order import RemovalOrder
from instance_seg_ros.pipeline import Scene, SceneObject
from instance_seg_ros.results.cloud import SceneCloud, cloud_of_objects
from instance_seg_ros.segmentation import ModelInfo
from instance_seg_ros.tracking import TrackRecord

NS_PER_S = 1_000_000_000
FRAME_OK, FRAME_NO_DEPTH, FRAME_INVALID_INPUT = 0, 1, 2
"""The STATUS_* constants of InstanceArray."""
NO_DEPTH_TEXT = (
    "the depth image holds no measurement; is the camera's depth stream on, and its unit millimetres (16UC1) or metres "
    "(32FC1)?"
)
"""Reason of FRAME_NO_DEPTH."""
_IN_RING_TEXT = "its step of removal is a guess: it seems to lie on what lies on it, too"
TOOL_CENTRE_POINT = GraspingSettings()
"""Grasp poses as the core has them: of the tool centre point, +x closing."""

_MAX_PIXEL = 10**6
_POINT_FIELD_TYPES = {"uint32": 6, "float32": 7}
"""The datatype constants of sensor_msgs/PointField."""


class MessageFactory(Protocol):
    """Makes messages."""

    def __call__(self, type_name: str, /, **fields: Any) -> Any:
        """The message of a type such as "geometry_msgs/msg/Point" with these, which are all of its fields."""


def instance_array(
    make: MessageFactory,
    scene: Scene,
    *,
    grasping: GraspingSettings = TOOL_CENTRE_POINT,
    frame_age_s: float = math.nan,
    include_clouds: bool = False,
) -> Any:
    """The InstanceArray of a scene, with the stamp and the frame of its colour image.

    Args:
        grasping: names the robot's frame in which grasp poses are published, and the order of the instances.
        frame_age_s: the publisher's clock minus the frame's stamp; NaN where there is no such clock.
        include_clouds: also put each instance's points into its message.
    """
    plane = scene.lifted.support_plane
    camera = scene.frame.intrinsics
    has_depth = bool(scene.frame.depth_m.any())
    removal = scene.lifted.removal_order
    shared = header_of(make, scene)
    no_points = point_cloud(make, shared, xyz_columns(np.zeros((0, 3), np.float32)))
    return make(
        "instance_seg_ros/msg/InstanceArray",
        header=shared,
        image_width=camera.width,
        image_height=camera.height,
        fx=float(camera.fx),
        fy=float(camera.fy),
        cx=float(camera.cx),
        cy=float(camera.cy),
        has_support_plane=plane is not None,
        support_plane=_plane_or_zeros(plane),
        support_surfaces=[
            make(
                "instance_seg_ros/msg/SupportSurface",
                plane=_plane_or_zeros(surface.plane),
                border=[point(make, corner_m) for corner_m in surface.border_m],
            )
            for surface in scene.lifted.surfaces
        ],
        instances=[
            _instance(make, scene, each, removal, grasping, shared, no_points, include_clouds)
            for each in scene.objects_in_order(grasping.instance_order)
        ],
        unseen_tracks=[
            _unseen_track(make, track_id, record)
            for track_id, record in scene.tracks.items()
            if track_id not in scene.track_ids
        ],
        model_name=scene.model.name,
        model_digest=scene.model.digest,
        stages=[
            make("instance_seg_ros/msg/StageTime", name=stage, duration_s=float(duration_s))
            for stage, duration_s in scene.stage_times_s.items()
        ],
        frame_age_s=float(frame_age_s),
        status=FRAME_OK if has_depth else FRAME_NO_DEPTH,
        status_text="" if has_depth else NO_DEPTH_TEXT,
    )


def invalid_instance_array(make: MessageFactory, stamp_ns: int, frame_id: str, model: ModelInfo, reason: str) -> Any:
    """The empty InstanceArray for a frame that could not be processed."""
    return make(
        "instance_seg_ros/msg/InstanceArray",
        header=header(make, stamp_ns, frame_id),
        image_width=0,
        image_height=0,
        fx=0.0,
        fy=0.0,
        cx=0.0,
        cy=0.0,
        has_support_plane=False,
        support_plane=np.zeros(4),
        support_surfaces=[],
        instances=[],
        unseen_tracks=[],
        model_name=model.name,
        model_digest=model.digest,
        stages=[],
        frame_age_s=math.nan,
        status=FRAME_INVALID_INPUT,
        status_text=reason,
    )


def header(make: MessageFactory, stamp_ns: int, frame_id: str) -> Any:
    """A std_msgs/Header."""
    return make("std_msgs/msg/Header", stamp=_time(make, stamp_ns), frame_id=frame_id)


def _time(make: MessageFactory, stamp_ns: int) -> Any:
    sec, nanosec = divmod(stamp_ns, NS_PER_S)
    return make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)


def label_image(make: MessageFactory, scene: Scene) -> Any:
    """The mono16 image whose pixels are the instances' labels, 0 = background."""
    return image(make, header_of(make, scene), scene.instances.label_image(), "mono16")


def panoptic_image(make: MessageFactory, scene: Scene, labels: NDArray[np.uint16]) -> Any:
    """The mono16 image of things and stuff, as `results.panoptic` makes it."""
    return image(make, header_of(make, scene), labels, "mono16")


def overlay_image(make: MessageFactory, scene: Scene, overlay_rgb: NDArray[np.uint8]) -> Any:
    """A drawing of the scene, (H, W, 3) uint8 RGB, as a bgr8 image."""
    return image(make, header_of(make, scene), overlay_rgb[..., ::-1], "bgr8")


def image(make: MessageFactory, image_header: Any, pixels: NDArray[Any], encoding: str) -> Any:
    """A sensor_msgs/Image; `pixels` is (H, W[, C]) in the order that `encoding` says."""
    little_endian = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    height, width = pixels.shape[:2]
    return make(
        "sensor_msgs/msg/Image",
        header=image_header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=little_endian.nbytes // height if height else 0,
        data=little_endian.reshape(-1).view(np.uint8),
    )


def cloud(make: MessageFactory, scene: Scene) -> Any:
    """The kept points of all instances: x, y, z, packed rgb as float32 (as rviz and PCL have it), uint32 label."""
    points = cloud_of_objects(scene)
    return point_cloud(
        make,
        header_of(make, scene),
        {**xyz_columns(points.points_m), "rgb": _packed_rgb(points), "label": points.labels.astype(np.uint32)},
    )


def transform_to_pose(make: MessageFactory, transform: Transform) -> Any:
    """A geometry_msgs/Pose."""
    position, orientation = point(make, transform.translation_m), _orientation(make, transform)
    return make("geometry_msgs/msg/Pose", position=position, orientation=orientation)


def _orientation(make: MessageFactory, transform: Transform) -> Any:
    """A geometry_msgs/Quaternion."""
    x, y, z, w = transform.quaternion_xyzw.tolist()
    return make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)


def point(make: MessageFactory, position_m: ArrayLike) -> Any:
    """A geometry_msgs/Point of 3 values."""
    x, y, z = np.asarray(position_m, dtype=np.float64).tolist()
    return make("geometry_msgs/msg/Point", x=x, y=y, z=z)


def vector(make: MessageFactory, values: ArrayLike) -> Any:
    """A geometry_msgs/Vector3 of 3 values."""
    x, y, z = np.asarray(values, dtype=np.float64).tolist()
    return make("geometry_msgs/msg/Vector3", x=x, y=y, z=z)


def _instance(
    make: MessageFactory,
    scene: Scene,
    scene_object: SceneObject,
    removal: RemovalOrder,
    grasping: GraspingSettings,
    own_header: Any,
    no_points: Any,
    include_cloud: bool,
) -> Any:
    """An Instance; making messages takes time, so what all of a scene have alike is made once.

    Args:
        own_header: of its images.
        no_points: the cloud of one whose points are not published.
    """
    lifted, index = scene_object.lifted, scene_object.label - 1
    record = scene.tracks.get(scene_object.track_id)
    mask = scene.instances.masks[index]
    x0, y0, width, height = scene.instances.bounds[index]
    x1, y1 = x0 + width, y0 + height
    # Of points too few to place the object, only the number is published.
    is_shown = include_cloud and lifted.centroid_m is not None
    covariance = np.zeros(9) if lifted.covariance_m2 is None else lifted.covariance_m2.reshape(9).astype(np.float64)
    # All its boxes are turned alike.
    turned = _orientation(make, Transform.identity() if lifted.box is None else lifted.box.T_camera_box)
    return make(
        "instance_seg_ros/msg/Instance",
        label=scene_object.label,
        track_id=scene_object.track_id,
        sightings=0 if record is None else record.sightings,
        first_seen=_time(make, 0 if record is None else record.first_seen_ns),
        class_name=scene_object.class_name,
        class_index=scene_object.class_id,
        score=scene_object.score,
        region=make(
            "sensor_msgs/msg/RegionOfInterest",
            x_offset=x0,
            y_offset=y0,
            height=height,
            width=width,
            do_rectify=False,
        ),
        mask=image(make, own_header, np.where(mask[y0:y1, x0:x1], np.uint8(255), np.uint8(0)), "mono8"),
        amodal_xyxy=_pixels_around(lifted.amodal_xyxy or (x0, y0, x1, y1)),
        occluded_by=np.array(lifted.occluded_by, dtype=np.uint16) + np.uint16(1),
        points_kept=len(lifted.points_m),
        points_rejected=int(lifted.rejected),
        centroid=_point_or_nan(make, lifted.centroid_m),
        centroid_covariance=(
            np.zeros(9) if lifted.centroid_covariance_m2 is None else lifted.centroid_covariance_m2.reshape(-1)
        ),
        surface_centroid=_point_or_nan(make, lifted.surface_centroid_m),
        covariance=covariance,
        completion=int(lifted.completion),
        support=int(lifted.support.kind),
        supported_by=0 if lifted.support.instance is None else lifted.support.instance + 1,
        removal_order=removal.steps[index],
        support_plane=_plane_or_zeros(lifted.support.plane),
        box=_box(make, lifted.box, turned),
        inner_box=_box(make, lifted.inner_box, turned),
        outer_box=_box(make, lifted.outer_box, turned),
        cloud=point_cloud(make, own_header, xyz_columns(lifted.points_m)) if is_shown else no_points,
        shape=_shape(make, lifted.mesh),
        grasps=[_grasp(make, scene, grasp, grasping) for grasp in scene_object.grasps],
        status=int(scene_object.status),
        status_text="; ".join(filter(None, (scene_object.reason, _IN_RING_TEXT if removal.in_ring[index] else ""))),
    )


def _unseen_track(make: MessageFactory, track_id: int, record: TrackRecord) -> Any:
    return make(
        "instance_seg_ros/msg/UnseenTrack",
        track_id=track_id,
        sightings=record.sightings,
        first_seen=_time(make, record.first_seen_ns),
        last_seen=_time(make, record.last_seen_ns),
        seen_empty=record.seen_empty,
    )


def _pixels_around(xyxy: tuple[float, float, float, float]) -> NDArray[np.int32]:
    """Whole pixels around a region, however far it reaches, within what the message's numbers hold."""
    low, high = np.floor(xyxy[:2]), np.ceil(xyxy[2:])
    return np.clip(np.concatenate([low, high]), -_MAX_PIXEL, _MAX_PIXEL).astype(np.int32)


def _shape(make: MessageFactory, mesh: ShapeMesh | None) -> Any:
    vertices_m = [] if mesh is None else mesh.vertices_m.tolist()
    return make(
        "instance_seg_ros/msg/Shape",
        vertices=[make("geometry_msgs/msg/Point32", x=x, y=y, z=z) for x, y, z in vertices_m],
        triangles=np.zeros(0, np.uint16) if mesh is None else mesh.triangles.reshape(-1),
        measured=np.zeros(0, bool) if mesh is None else mesh.measured,
    )


def _plane_or_zeros(plane: Plane | None) -> NDArray[np.float64]:
    return np.zeros(4) if plane is None else np.append(plane.normal, plane.offset_m)


def header_of(make: MessageFactory, scene: Scene) -> Any:
    """The header of what becomes of a scene."""
    return header(make, scene.frame.stamp_ns, scene.frame.frame_id)


def _grasp(make: MessageFactory, scene: Scene, grasp: Grasp, grasping: GraspingSettings) -> Any:
    plane = scene.lifted.support_plane
    lift_direction = -grasp.T_camera_grasp.rotation[:, 2] if plane is None else plane.normal
    return make(
        "instance_seg_ros/msg/Grasp",
        pose=transform_to_pose(make, for_robot(grasp.T_camera_grasp, grasping)),
        width_m=float(grasp.width_m),
        opening_m=float(grasp.opening_m),
        quality=float(grasp.quality),
        approach_distance_m=float(grasp.approach_distance_m),
        lift_distance_m=float(grasp.lift_distance_m),
        lift_direction=vector(make, lift_direction),
        contacts=[point(make, contact_m) for contact_m in grasp.contacts_m],
        checked_against_scene=bool(grasp.checked_against_scene),
    )


def _point_or_nan(make: MessageFactory, position_m: NDArray[np.float64] | None) -> Any:
    return point(make, np.full(3, np.nan) if position_m is None else position_m)


def _box(make: MessageFactory, box: OrientedBox | None, orientation: Any) -> Any:
    position, size_m = (None, np.zeros(3)) if box is None else (box.T_camera_box.translation_m, box.size_m)
    pose = make("geometry_msgs/msg/Pose", position=_point_or_nan(make, position), orientation=orientation)
    return make("instance_seg_ros/msg/OrientedBox", pose=pose, size=vector(make, size_m))


def xyz_columns(points_m: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    return {axis: points_m[:, index].astype("<f4", copy=False) for index, axis in enumerate("xyz")}


def _packed_rgb(points: SceneCloud) -> NDArray[np.float32]:
    red, green, blue = points.colors_rgb.T.astype(np.uint32)
    return (red << 16 | green << 8 | blue).view(np.float32)


def point_cloud(make: MessageFactory, cloud_header: Any, columns: dict[str, NDArray[Any]]) -> Any:
    """A PointCloud2 of one row with these (P,) columns as its fields."""
    dtype = np.dtype([(name, values.dtype.newbyteorder("<")) for name, values in columns.items()])
    records = np.empty(len(next(iter(columns.values()))), dtype=dtype)
    for name, values in columns.items():
        records[name] = values
    return make(
        "sensor_msgs/msg/PointCloud2",
        header=cloud_header,
        height=1,
        width=len(records),
        fields=_point_fields(make, dtype),
        is_bigendian=False,
        point_step=dtype.itemsize,
        row_step=records.nbytes,
        data=records.view(np.uint8).reshape(-1),
        is_dense=True,
    )


def _point_fields(make: MessageFactory, dtype: np.dtype) -> Sequence[Any]:
    fields: dict[str, tuple[np.dtype, int]] = {
        name: (entry[0], entry[1]) for name, entry in (dtype.fields or {}).items()
    }
    return [
        make(
            "sensor_msgs/msg/PointField",
            name=name,
            offset=offset,
            datatype=_POINT_FIELD_TYPES[field.newbyteorder("=").name],
            count=1,
        )
        for name, (field, offset) in fields.items()
    ]
