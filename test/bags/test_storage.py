from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, Writer

from instance_seg_ros.bags.storage import STORAGES, Bag, BagError, opened_bag


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


@pytest.mark.parametrize(
    ("storage", "damage"),
    [
        ("sqlite3", lambda file: cut(file, 0.6)),
        ("sqlite3", lambda file: cut(file, 0.0)),
        ("mcap", lambda file: cut(file, 0.0)),
        ("sqlite3", lambda file: file.unlink()),
        ("mcap", lambda file: file.unlink()),
        ("sqlite3", scramble),
        ("mcap", scramble),
    ],
    ids=["cut db3", "empty db3", "empty mcap", "missing db3", "missing mcap", "scrambled db3", "scrambled mcap"],
)
def test_a_damaged_storage_is_an_error_that_names_the_bag(
    write_bag: Callable, recorded: list, storage: str, damage: Callable[[Path], None]
) -> None:
    source = write_bag(recorded, storage)
    damage(storage_file(source))
    with pytest.raises(BagError, match="in cannot be read as a rosbag2"), opened_bag(source) as bag:
        topics_read(bag)


def rewritten(file: Path, compression: str) -> None:
    """Writes the mcap file anew, by another library and with chunks of a few messages."""
    target = file.with_suffix(".new")
    with Reader(file) as reader, target.open("wb") as stream:
        writer = McapWriter(stream, chunk_size=50_000, compression=CompressionType[compression])
        writer.start(profile="ros2")
        channels = {}
        for connection in reader.connections:
            schema = writer.register_schema(connection.msgtype, "ros2msg", connection.msgdef.data.encode())
            channels[connection.id] = writer.register_channel(connection.topic, "cdr", schema)
        for connection, time_ns, raw in reader.messages():
            writer.add_message(channels[connection.id], time_ns, bytes(raw), time_ns)
        writer.finish()
    target.replace(file)


@pytest.mark.parametrize("compression", ["NONE", "ZSTD", "LZ4"])
@pytest.mark.parametrize("with_metadata", [True, False])
def test_of_a_cut_mcap_the_whole_messages_are_read(
    write_bag: Callable, recorded: list, compression: str, with_metadata: bool
) -> None:
    source = write_bag(recorded, "mcap")
    file = storage_file(source)
    rewritten(file, compression)
    content = file.read_bytes()
    if not with_metadata:
        (source / "metadata.yaml").unlink()
    end_of_data = content.rindex(b"\x0f\x04" + bytes(7))  # the record that says so
    counts = []
    for share in (0.9, 0.6, 0.3):
        file.write_bytes(content[: int(end_of_data * share)])
        with opened_bag(source) as bag:
            read = topics_read(bag)
            assert read == [topic for topic, _, _ in recorded][: len(read)]
            assert bag.count(bag.types) == len(read)
            assert any("in.mcap was cut short" in warning and "mcap recover" in warning for warning in bag.warnings)
        counts.append(len(read))
    assert 16 >= counts[0] > counts[1] > counts[2] > 0


def test_a_cut_mcap_gives_every_message_before_the_cut(write_bag: Callable, recorded: list) -> None:
    file = storage_file(write_bag(recorded, "mcap"))
    content = file.read_bytes()
    with Reader(file) as reader:
        eleventh = bytes(list(reader.messages())[10][2])
    end = content.index(eleventh) + len(eleventh)
    never_written = bytes(5000)  # as a file system leaves them
    for cut_content, whole in (
        (content[:end], 11),
        (content[: end - 1], 10),
        (content[: end + 4], 11),
        (content[:end] + never_written, 11),
    ):
        file.write_bytes(cut_content)
        with opened_bag(file) as bag:
            assert len(topics_read(bag)) == whole


@pytest.mark.parametrize("length", [8, 9, 20, 60])
def test_an_mcap_that_ends_before_its_first_message_has_none(write_bag: Callable, recorded: list, length: int) -> None:
    file = storage_file(write_bag(recorded, "mcap"))
    file.write_bytes(file.read_bytes()[:length])
    with contextlib.suppress(BagError), opened_bag(file) as bag:
        assert topics_read(bag) == []


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_folder_without_metadata_is_read_with_a_warning(write_bag: Callable, recorded: list, storage: str) -> None:
    source = write_bag(recorded, storage)
    (source / "metadata.yaml").unlink()
    with opened_bag(source) as bag:
        assert topics_read(bag) == [topic for topic, _, _ in recorded]
        assert bag.storage == storage
        (warning,) = bag.warnings
        assert "in has no metadata.yaml" in warning
        assert "`ros2 bag reindex` writes it again" in warning


def test_files_without_metadata_are_read_in_the_order_of_their_numbers(write_bag: Callable, recorded: list) -> None:
    source = write_bag(recorded[:8], "mcap")
    storage_file(source).replace(source.parent / "first")
    shutil.rmtree(source)
    source = write_bag(recorded[8:], "mcap")
    (source / "metadata.yaml").unlink()
    storage_file(source).replace(source / "in_10.mcap")
    (source.parent / "first").replace(source / "in_9.mcap")
    with opened_bag(source) as bag:
        assert [message.time_ns for message in bag.messages(bag.types)] == [ns + 5_000_000 for _, ns, _ in recorded]


def set_storage_id(folder: Path, identifier: str) -> None:
    metadata = folder / "metadata.yaml"
    metadata.write_text(re.sub(r"storage_identifier: .*", f"storage_identifier: {identifier}", metadata.read_text()))


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (lambda folder: (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: ["), "Could not load YAML"),
        (lambda folder: set_storage_id(folder, "''"), "Storage plugin '' not supported"),
        (lambda folder: set_storage_id(folder, "my_plugin"), "Storage plugin 'my_plugin' not supported"),
    ],
    ids=["no YAML", "empty storage id", "unknown storage id"],
)
def test_unusable_metadata_is_warned_of_and_the_files_are_read(
    write_bag: Callable, recorded: list, damage: Callable[[Path], None], cause: str
) -> None:
    source = write_bag(recorded, "mcap")
    damage(source)
    with opened_bag(source) as bag:
        assert len(topics_read(bag)) == 16
        (warning,) = bag.warnings
        assert f"in's metadata.yaml cannot be used: {cause}" in warning
        assert "`ros2 bag reindex -s mcap in` writes it again" in warning
        assert "\n" not in warning


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_lone_compressed_file_is_read(write_bag: Callable, recorded: list, storage: str) -> None:
    file = storage_file(write_bag(recorded, storage))
    compressed = file.with_name(f"{file.name}.zstd")
    compressed.write_bytes(zstandard.compress(file.read_bytes()))
    file.unlink()
    with opened_bag(compressed) as bag:
        assert len(topics_read(bag)) == 16
        assert bag.storage == storage
    (compressed.parent / "metadata.yaml").unlink()
    with opened_bag(compressed.parent) as bag:
        assert len(topics_read(bag)) == 16


def test_of_a_compressed_mcap_that_is_cut_the_whole_messages_are_read(write_bag: Callable, recorded: list) -> None:
    file = storage_file(write_bag(recorded, "mcap"))
    noise = np.random.default_rng(0).bytes(400_000)  # so that the recording is not one block with the end
    content = zstandard.compress(file.read_bytes() + noise)
    compressed = file.with_name(f"{file.name}.zstd")
    compressed.write_bytes(content[:-100_000])
    with opened_bag(compressed) as bag:
        assert len(topics_read(bag)) == 16
        assert "was cut short" in bag.warnings[0]


def test_messages_that_are_compressed_each_are_read_without_metadata(
    tmp_path: Path, typestore: Any, recorded: list
) -> None:
    topic, stamp_ns, message = recorded[0]
    raw = typestore.serialize_cdr(message, message.__msgtype__)
    writer = Writer(tmp_path / "in", version=9, storage_plugin=STORAGES["sqlite3"])
    writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(topic, message.__msgtype__, typestore=typestore)
        writer.write(connection, stamp_ns, raw)
    (tmp_path / "in" / "metadata.yaml").unlink()
    with opened_bag(tmp_path / "in") as bag:
        (found,) = bag.messages(bag.types)
    assert bytes(found.raw) == bytes(raw)


def test_a_bag_of_ros_1_is_named_with_the_converter(tmp_path: Path) -> None:
    path = tmp_path / "old.bag"
    with Ros1Writer(path):
        pass
    with pytest.raises(BagError, match=r"is a bag of ROS 1; `rosbags-convert --src .*old.bag --dst"), opened_bag(path):
        pass


@pytest.mark.parametrize("name", ["notes.txt", "recording.mp4"])
def test_another_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("nothing")
    with (
        pytest.raises(BagError, match="is no rosbag2: give a folder, or a file .mcap or .db3"),
        opened_bag(tmp_path / name),
    ):
        pass


def test_a_folder_of_other_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(BagError, match="no metadata.yaml; give the folder of a recording"), opened_bag(tmp_path):
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
