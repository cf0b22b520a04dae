from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.learning.datasets.coco_data import (
    DEFAULT_FOCAL_SHARE,
    IGNORED_LABEL,
    MAX_LABELS,
    CocoError,
    CocoFiles,
    label_image,
    read_coco,
)
from instance_seg_ros.learning.datasets.coco_images import median_depth_m, read_depth

WIDTH, HEIGHT = 40, 30
SQUARE = [[5, 5, 15, 5, 15, 15, 5, 15]]  # x 5..14, y 5..14
INSIDE = [[8, 8, 12, 8, 12, 12, 8, 12]]  # in the square
CONTENT: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
        {"id": 8, "file_name": "sub/b.jpg", "width": WIDTH, "height": HEIGHT},
    ],
    "categories": [{"id": 30, "name": "cup"}, {"id": 4, "name": "box"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 4, "segmentation": INSIDE, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 30, "segmentation": SQUARE, "iscrowd": 0},
        {"id": 3, "image_id": 7, "category_id": 4, "segmentation": [[20, 0, 40, 0, 40, 30, 20, 30]], "iscrowd": 1},
    ],
}

Make = Callable[[dict[str, Any]], CocoFiles]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a data set of two images with depth of the first, and the JSON file given."""

    def write(content: dict[str, Any]) -> CocoFiles:
        pixels = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
        for path in (tmp_path / "images" / "a.png", tmp_path / "images" / "sub" / "b.jpg"):
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)
        (tmp_path / "depth" / "sub").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "depth" / "a.png"), np.full((HEIGHT, WIDTH), 700, dtype=np.uint16))
        (tmp_path / "instances.json").write_text(json.dumps(content))
        return CocoFiles(tmp_path / "instances.json", tmp_path / "images")

    return write


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """CONTENT with one value replaced."""
    content = copy.deepcopy(CONTENT)
    owner: Any = content
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    return content


def test_categories_become_contiguous_classes_in_the_order_of_their_ids(make: Make) -> None:
    data = read_coco(make(CONTENT))
    assert data.class_names == ("box", "cup")
    assert [region.class_index for region in data.images[0].regions] == [None, 1, 0]
    assert data.images[1].regions == ()
    assert data.skipped_images == data.skipped_annotations == ()


def test_class_agnostic_reading_gives_one_class(make: Make) -> None:
    data = read_coco(replace(make(CONTENT), class_agnostic=True))
    assert data.class_names == ("object",)
    assert [region.class_index for region in data.images[0].regions] == [None, 0, 0]


def test_a_pixel_of_several_objects_belongs_to_the_smallest_and_crowds_are_ignored(make: Make) -> None:
    labels, classes = label_image(read_coco(make(CONTENT)).images[0])
    assert labels[10, 10] == 2  # the box in the cup
    assert labels[6, 6] == 1
    assert classes.tolist() == [1, 0]
    assert labels[20, 30] == IGNORED_LABEL
    assert labels[25, 5] == 0


@pytest.mark.parametrize(
    ("path", "value", "cause"),
    [
        (("annotations", 1, "category_id"), 99, r"a\.png: annotation 2: there is no category 99"),
        (("annotations", 1, "category_id"), None, "annotation 2: there is no category None"),
        (("annotations", 1, "segmentation"), [[]], "annotation 2: a polygon has 0 numbers"),
        (("annotations", 1, "segmentation"), [[5, 5, float("nan"), 5, 5, 9]], "annotation 2: a polygon is no list"),
        (("annotations", 1, "segmentation"), {"size": [9, 9], "counts": [81]}, r"annotation 2: its runs are of size"),
        (("annotations", 1, "image_id"), 55, "annotation 2: there is no image 55"),
        (("annotations", 1, "image_id"), [7], r"annotation 2: there is no image \[7\]"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_left_out_and_named(
    make: Make, path: tuple[str | int, ...], value: Any, cause: str
) -> None:
    data = read_coco(make(changed(path, value)))
    (line,) = data.skipped_annotations
    assert re.search(cause, line)
    assert "left out 1 annotations" in data.summary()
    assert len(data.images[0].regions) == 2


def test_where_a_box_tells_the_pixels_of_an_unusable_annotation_are_ignored(make: Make) -> None:
    content = changed(("annotations", 1, "segmentation"), [])
    content["annotations"][1]["bbox"] = [5, 5, 10, 10]
    labels, classes = label_image(read_coco(make(content)).images[0])
    assert labels[6, 6] == IGNORED_LABEL
    assert labels[10, 10] == 1
    assert classes.tolist() == [0]


@pytest.mark.parametrize(
    ("path", "value", "cause"),
    [
        (("images", 0, "file_name"), "missing.png", r"missing\.png cannot be read: No such file"),
        (("images", 0, "file_name"), None, "image 7 has the file_name None"),
        (("images", 0, "width"), 41, r"a\.png is 40x30, but the annotations say 41x30"),
        (("images", 0, "width"), None, "image 7 is of size None x 30"),
        (("images", 0, "fx"), 500.0, r"a\.png: its camera has fx, fy, cx, cy \[500\.0, None"),
    ],
)
def test_an_image_that_cannot_be_used_is_left_out_and_named(
    make: Make, path: tuple[str | int, ...], value: Any, cause: str
) -> None:
    data = read_coco(make(changed(path, value)))
    (line,) = data.skipped_images
    assert re.search(cause, line)
    assert [image.color_path.name for image in data.images] == ["b.jpg"]
    assert "left out 1 images" in data.summary()


def test_an_image_stored_turned_is_named_as_such(make: Make) -> None:
    content = changed(("images", 0, "width"), HEIGHT)
    content["images"][0]["height"] = WIDTH
    assert "without its orientation tag" in read_coco(make(content)).skipped_images[0]


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_an_image_whose_tag_turns_it_unseen_is_left_out(make: Make, orientation: int) -> None:
    files = make(CONTENT)
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.new("RGB", (WIDTH, HEIGHT)).save(files.images / "sub" / "b.jpg", exif=tags)
    (line,) = read_coco(files).skipped_images
    assert f"b.jpg has the orientation tag {orientation}" in line


def test_depth_in_the_place_of_an_image_is_left_out(make: Make) -> None:
    files = make(CONTENT)
    cv2.imwrite(str(files.images / "a.png"), np.full((HEIGHT, WIDTH), 700, dtype=np.uint16))
    (line,) = read_coco(files).skipped_images
    assert "a.png is grey of 16 bits, as depth is" in line


def test_depth_is_found_by_name_and_its_absence_counted(make: Make, tmp_path: Path) -> None:
    data = read_coco(replace(make(CONTENT), depth=tmp_path / "depth"))
    assert data.images[0].depth_path == tmp_path / "depth" / "a.png"
    assert data.images[1].depth_path is None
    assert data.without_depth == 1
    assert "1 images have no depth" in data.summary()


@pytest.mark.parametrize("folder", ["dpeth", "images"])
def test_a_depth_folder_that_has_no_depth_is_refused(make: Make, tmp_path: Path, folder: str) -> None:
    content = changed(("images", 1, "file_name"), "sub/b.jpg")
    del content["images"][0]  # of a.png the image itself would lie there
    with pytest.raises(CocoError, match=rf"{folder} holds no depth of any image; that of .*b\.jpg is to be b\.png"):
        read_coco(replace(make(content), depth=tmp_path / folder))


@pytest.mark.parametrize(
    ("depth", "cause"),
    [
        (np.zeros((HEIGHT, WIDTH + 2), np.uint16), "registered"),
        (np.zeros((HEIGHT, WIDTH), np.uint8), "a.png is grey of 8 bits; depth is one channel of 16 bits"),
        (np.zeros((HEIGHT, WIDTH, 3), np.uint16), "a.png is colour; depth is one channel of 16 bits"),
    ],
)
def test_an_image_with_unusable_depth_is_left_out(make: Make, tmp_path: Path, depth: np.ndarray, cause: str) -> None:
    files = replace(make(CONTENT), depth=tmp_path / "depth")
    (tmp_path / "depth" / "a.png").replace(tmp_path / "depth" / "sub" / "b.png")
    cv2.imwrite(str(tmp_path / "depth" / "a.png"), depth)
    (line,) = read_coco(files).skipped_images
    assert cause in line


@pytest.mark.parametrize(("unit_m", "found"), [(1.0, ": .* nearly all values lie beyond 65 m"), (1e-5, " is 0.007 m")])
def test_depth_of_a_wrong_unit_is_refused(make: Make, tmp_path: Path, unit_m: float, found: str) -> None:
    files = replace(make(CONTENT), depth=tmp_path / "depth")
    assert median_depth_m(read_coco(files), 0.001) == pytest.approx(0.7)
    with pytest.raises(InputError, match=rf"a\.png{found}.* unit by --depth-unit"):
        median_depth_m(read_coco(files), unit_m)


def test_depth_of_which_nothing_was_measured_has_no_wrong_unit(make: Make, tmp_path: Path) -> None:
    files = replace(make(CONTENT), depth=tmp_path / "depth")
    cv2.imwrite(str(tmp_path / "depth" / "a.png"), np.full((HEIGHT, WIDTH), 65535, np.uint16))
    assert not read_depth(read_coco(files).images[0], 0.001).any()


def test_images_without_depth_have_no_wrong_unit(make: Make) -> None:
    assert median_depth_m(read_coco(make(CONTENT)), 1.0) is None


def test_the_camera_comes_from_the_image_the_option_or_a_guess_that_is_told(make: Make) -> None:
    content = copy.deepcopy(CONTENT)
    content["images"][0] |= {"fx": 50.0, "fy": 51.0, "cx": 19.0, "cy": 14.0}
    files = make(content)
    guessed = read_coco(files)
    assert guessed.images[0].camera.fx_fy_cx_cy.tolist() == [50, 51, 19, 14]
    assert guessed.images[1].camera.fx == pytest.approx(DEFAULT_FOCAL_SHARE * WIDTH)
    assert "the camera of 1 images is not known" in guessed.summary()
    named = read_coco(replace(files, intrinsics=(60.0, 60.0, 20.0, 15.0)))
    assert named.images[1].camera.fx == 60
    assert "not known" not in named.summary()


def test_more_objects_than_labels_leave_the_smallest_ignored(make: Make) -> None:
    content = copy.deepcopy(CONTENT)
    cells = [(x, y) for y in range(0, HEIGHT, 2) for x in range(0, WIDTH, 2)][: MAX_LABELS + 2]
    content["annotations"] = [
        {
            "id": index,
            "image_id": 7,
            "category_id": 4,
            "segmentation": [[x, y, x + 2, y, x + 2, y + 2 - (index < 2), x, y + 2 - (index < 2)]],
        }
        for index, (x, y) in enumerate(cells)
    ]
    data = read_coco(make(content))
    labels, classes = label_image(data.images[0])
    assert len(classes) == MAX_LABELS
    assert len(data.skipped_annotations) == 2
    assert labels[0, 0] == labels[0, 2] == IGNORED_LABEL
    assert labels.max() == IGNORED_LABEL


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ([], "must hold an object"),
        ({"images": [], "annotations": []}, 'a list of objects "categories"'),
        ({**CONTENT, "annotations": [3]}, 'a list of objects "annotations"'),
        ({**CONTENT, "images": []}, "names no image"),
        (changed(("images", 1, "id"), 7), "two entries of images have the id 7"),
        (changed(("categories", 1, "id"), None), "the id None of an entry of categories"),
        (changed(("categories", 1, "name"), "cup"), "two categories are named 'cup'"),
        (changed(("categories", 1, "name"), " "), "has the name ' '"),
        (
            {**CONTENT, "images": [{"id": 1, "file_name": "x.png", "width": 1, "height": 1}]},
            "none of 1 images can be used",
        ),
    ],
)
def test_a_file_that_is_no_coco_data_set_is_refused(make: Make, content: Any, cause: str) -> None:
    with pytest.raises(CocoError, match=cause):
        read_coco(make(content))


def test_a_missing_or_damaged_file_is_refused(make: Make, tmp_path: Path) -> None:
    files = make(CONTENT)
    with pytest.raises(CocoError, match="cannot read .*nothing.json: No such file"):
        read_coco(replace(files, instances=tmp_path / "nothing.json"))
    files.instances.write_text('{"images": [')
    with pytest.raises(CocoError, match="not valid JSON"):
        read_coco(files)


def test_of_an_annotation_the_good_polygons_are_used(make: Make) -> None:
    content = changed(("annotations", 1, "segmentation"), [*SQUARE, [3, 3], [1, 1, 2, 2]])
    data = read_coco(make(content))
    assert sorted(region.area_px for region in data.images[0].regions if region.class_index is not None) == [16, 100]
    first, second = data.skipped_annotations
    assert "annotation 2, in part: a polygon has 2 numbers" in first
    assert "annotation 2, in part: a polygon has 4 numbers" in second


@pytest.mark.parametrize("root_name", ["cup", "kitchen-things"])
def test_a_root_category_that_nothing_is_of_is_no_class(make: Make, root_name: str) -> None:
    content = copy.deepcopy(CONTENT)
    for category in content["categories"]:
        category["supercategory"] = root_name
    content["categories"].insert(0, {"id": 0, "name": root_name, "supercategory": "none"})
    data = read_coco(make(content))
    assert data.class_names == ("box", "cup")
    assert data.skipped_annotations == ()


def test_a_category_that_annotations_are_of_is_a_class_whatever_stands_below(make: Make) -> None:
    content = changed(("categories", 0, "supercategory"), "box")
    assert read_coco(make(content)).class_names == ("box", "cup")


@pytest.mark.parametrize(
    ("file_name", "stored"),
    [
        ("sub\\b.jpg", "sub/b.jpg"),
        ("images/sub/b.jpg", "sub/b.jpg"),
        ("./sub/b.jpg", "sub/b.jpg"),
        ("sub/a%20cup.jpg", "sub/a cup.jpg"),
        ("0a1b2c3d-b.jpg", "b.jpg"),
        ("images/0a1b2c3d-b.jpg", "b.jpg"),
        ("/data/upload/3/0a1b2c3d-b.jpg", "b.jpg"),
        ("/data/upload/3/0a1b2c3d-b.jpg", "0a1b2c3d-b.jpg"),
        ("/data/upload/3/0a1b2c3d-b.jpg", "upload/3/0a1b2c3d-b.jpg"),
        ("/data/upload/3/b.jpg", "3/b.jpg"),
        ("..\\..\\label-studio\\label-studio\\media\\upload\\4\\0a1b2c3d-b.jpg", "b.jpg"),
        ("/data/local-files/?d=sub/b.jpg", "sub/b.jpg"),
        ("/data/local-files/?d=images%5Csub%5Ca%20cup.jpg", "sub/a cup.jpg"),
        ("0a1b2c3d-b.jpg", "0a1b2c3d-b.jpg"),
    ],
)
def test_file_names_are_found_as_tools_write_them(make: Make, file_name: str, stored: str) -> None:
    files = make(changed(("images", 1, "file_name"), file_name))
    (files.images / stored).parent.mkdir(parents=True, exist_ok=True)
    (files.images / "sub" / "b.jpg").rename(files.images / stored)
    data = read_coco(files)
    assert data.skipped_images == ()
    assert data.images[1].color_path == files.images / stored


def test_uploads_of_one_name_are_told_apart_by_their_number(make: Make) -> None:
    content = changed(("images", 0, "file_name"), "/data/upload/1/b.jpg")
    content["images"][1]["file_name"] = "/data/upload/2/b.jpg"
    files = make(content)
    for stored, number in (("a.png", "1"), ("sub/b.jpg", "2")):
        (files.images / "upload" / number).mkdir(parents=True)
        (files.images / stored).rename(files.images / "upload" / number / "b.jpg")
    assert [image.color_path for image in read_coco(files).images[:2]] == [
        files.images / "upload" / "1" / "b.jpg",
        files.images / "upload" / "2" / "b.jpg",
    ]


@pytest.mark.parametrize("name", ["/data/upload/1/0a1b2c3d-a.png", "./a.png", "sub/../a.png", "IMAGES/a.png"])
def test_a_file_that_two_images_lead_to_is_used_for_neither(make: Make, tmp_path: Path, name: str) -> None:
    content = changed(("images", 1, "file_name"), name.replace("IMAGES", str(tmp_path / "images")))
    files = make(content)
    with pytest.raises(
        CocoError, match="a.png is taken for image .* and for .*: each would lack the other's annotations"
    ):
        read_coco(files)


def test_a_file_of_that_name_in_another_folder_is_not_taken(make: Make) -> None:
    (line,) = read_coco(make(changed(("images", 1, "file_name"), "other/b.jpg"))).skipped_images
    assert "other/b.jpg cannot be read: No such file" in line


def test_depth_is_found_for_an_image_whose_name_was_changed(make: Make, tmp_path: Path) -> None:
    files = replace(make(changed(("images", 0, "file_name"), "0a1b2c3d-a.png")), depth=tmp_path / "depth")
    assert read_coco(files).images[0].depth_path == tmp_path / "depth" / "a.png"


@pytest.mark.parametrize(("width", "usable"), [(40.0, True), (40.5, False), (True, False), ("40", False)])
def test_a_size_may_be_written_as_a_whole_fraction(make: Make, width: object, usable: bool) -> None:
    assert len(read_coco(make(changed(("images", 1, "width"), width))).images) == 1 + usable


def test_a_camera_of_another_resolution_is_told(make: Make) -> None:
    files = replace(make(CONTENT), intrinsics=(60.0, 60.0, 30.0, 25.0))
    with pytest.raises(CocoError, match="does not look through the middle of an image of 40x30"):
        read_coco(files)
