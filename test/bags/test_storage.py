from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from instance_seg_ros.bags.storage import Bag, BagError, opened_bag


def cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def scramble(file: Path) -> None:
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[100:middle] = bytes(middle - 100)
    file.write_bytes(content)


def storage_file(folder: Path) -> Path:
    return next(file for file in folder.iterdir() if file.suffix in (".db3", ".mcap"))


def topics_read(bag: Bag) -> list[str]:
    return [message.connection.topic for message in bag.messages(bag.types)]


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_the_messages_on_the_wanted_topics_are_read_in_order(write_bag: Callable, recorded: list, storage: str) -> None:
    with opened_bag(write_bag(recorded, storage)) as bag:
        assert bag.storage == storage
        assert topics_read(bag) == [topic for topic, _, _ in recorded]
        wanted = {"/camera/color/image_raw", "/unknown"}
        times_ns = [message.time_ns for message in bag.messages(wanted)]
        assert times_ns == [stamp_ns + 5_000_000 for topic, stamp_ns, _ in recorded if topic in wanted]
        assert bag.count(wanted) == 4
        assert list(bag.messages({"/unknown"})) == []


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_single_storage_file_is_read(write_bag: Callable, recorded: list, storage: str) -> None:
    with opened_bag(storage_file(write_bag(recorded, storage))) as bag:
        assert len(topics_read(bag)) == len(recorded)
        assert bag.storage == storage


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize(
    "damage",
    [lambda file: cut(file, 0.6), lambda file: cut(file, 0.0), lambda file: file.unlink(), scramble],
    ids=["cut", "empty", "missing", "scrambled"],
)
def test_a_damaged_storage_is_an_error_that_names_the_bag(
    write_bag: Callable, recorded: list, storage: str, damage: Callable[[Path], None]
) -> None:
    source = write_bag(recorded, storage)
    damage(storage_file(source))
    with pytest.raises(BagError, match="in cannot be read as a rosbag2"), opened_bag(source) as bag:
        topics_read(bag)


def damage_metadata(folder: Path) -> None:
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: [")


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (lambda folder: (folder / "metadata.yaml").unlink(), "no metadata.yaml; `ros2 bag reindex` makes it anew"),
        (damage_metadata, r"cannot be read as a rosbag2: [^\n]*$"),
    ],
    ids=["no metadata", "broken metadata"],
)
def test_a_folder_that_is_no_bag_is_an_error(
    write_bag: Callable, recorded: list, damage: Callable[[Path], None], cause: str
) -> None:
    source = write_bag(recorded)
    damage(source)
    with pytest.raises(BagError, match=cause), opened_bag(source):
        pass


def test_a_missing_bag_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="nowhere does not exist"), opened_bag(tmp_path / "nowhere"):
        pass


def test_a_bag_that_holds_less_than_it_says_is_an_error(write_bag: Callable, recorded: list) -> None:
    source = write_bag(recorded)
    metadata = source / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("message_count: 4", "message_count: 5"))
    with pytest.raises(BagError, match="of 20 messages only 16 are whole"), opened_bag(source) as bag:
        topics_read(bag)
