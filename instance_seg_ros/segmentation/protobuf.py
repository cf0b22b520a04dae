"""The fields of a protobuf message, read without a schema and without copies.

https://protobuf.dev/programming-guides/encoding: a key is `number << 3 | wire type`.
"""

from __future__ import annotations

from collections.abc import Iterator

Value = int | memoryview
"""A number, or the bytes of a text, of a message, or of a fixed-size number."""


def fields(message: bytes | memoryview) -> Iterator[tuple[int, Value, memoryview]]:
    """(field number, value, all bytes of the field) of each field of a message; both views are into it.

    Raises:
        ValueError: the bytes are no protobuf message, or were cut short.
    """
    view = memoryview(message)
    position = 0
    while position < len(view):
        start = position
        key, position = _varint(view, position)
        wire_type = key & 7
        value: Value
        if wire_type == 0:
            value, position = _varint(view, position)
        elif wire_type in (1, 2, 5):
            if wire_type == 2:
                length, position = _varint(view, position)
            else:
                length = 8 if wire_type == 1 else 4
            value = view[position : position + length]
            position += length
        else:
            raise ValueError(f"wire type {wire_type} at byte {start}")
        if position > len(view):
            raise ValueError(f"field {key >> 3} ends {position - len(view)} bytes behind the end")
        yield key >> 3, value, view[start:position]


def text(value: Value) -> str:
    """A field's value as text.

    Raises:
        ValueError: it is a number, or no UTF-8.
    """
    if isinstance(value, int):
        raise ValueError(f"a text was expected where the number {value} is")
    return str(value, "utf-8")


def integers(value: Value) -> list[int]:
    """The numbers of a repeated field, of which some writers pack all into one value.

    Raises:
        ValueError: the last was cut short.
    """
    if isinstance(value, int):
        return [value]
    numbers, position = [], 0
    while position < len(value):
        number, position = _varint(value, position)
        numbers.append(number)
    return numbers


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(view) and shift < 64:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError(f"a number that does not end at byte {position}")
