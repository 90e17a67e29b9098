"""The message and the service of the rows about gRPC: a KiB of fields of several kinds.

The service, which `protoc --descriptor_set_out` made the descriptor set of:

    syntax = "proto3";
    package bench;
    service Items { rpc Echo(Item) returns (Item); }
    message Item {
      string name = 1;
      int64 count = 2;
      double price = 3;
      bool active = 4;
      repeated string tags = 5;
      repeated Item parts = 6;
    }
"""

import json
import struct

PATH = "/bench.Items/Echo"
DESCRIPTOR_SET = (
    "Ct8BCgtiZW5jaC5wcm90bxIFYmVuY2gilQEKBEl0ZW0SEgoEbmFtZRgBIAEoCVIEbmFtZRIUCgVjb3VudBgCIAEoA1IFY291bnQSFAoFcHJpY2"
    "UYAyABKAFSBXByaWNlEhYKBmFjdGl2ZRgEIAEoCFIGYWN0aXZlEhIKBHRhZ3MYBSADKAlSBHRhZ3MSIQoFcGFydHMYBiADKAsyCy5iZW5jaC5J"
    "dGVtUgVwYXJ0czIpCgVJdGVtcxIgCgRFY2hvEgsuYmVuY2guSXRlbRoLLmJlbmNoLkl0ZW1iBnByb3RvMw=="
)


def _item(number: int, parts: int) -> dict:
    name = f"item {number} of a list that somebody ordered"
    item = {"name": name, "count": str(10**12 + number), "price": number + 0.25, "active": True, "tags": ["new", "red"]}
    return item | ({"parts": [_item(number * 10 + part, 0) for part in range(parts)]} if parts else {})


# As clients write it, about a KiB.
MESSAGE = _item(1, 7)
JSON = json.dumps(MESSAGE, separators=(",", ":"))


def frame() -> bytes:
    """The message in a frame of gRPC."""
    message = _encoded(MESSAGE)
    return b"\0" + struct.pack(">I", len(message)) + message


def _encoded(item: dict) -> bytes:
    parts = [
        _bytes(1, item["name"].encode()),
        b"\x10" + _varint(int(item["count"])),
        b"\x19" + struct.pack("<d", item["price"]),
        b"\x20\x01",
        *(_bytes(5, tag.encode()) for tag in item["tags"]),
        *(_bytes(6, _encoded(part)) for part in item.get("parts", [])),
    ]
    return b"".join(parts)


def _bytes(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    more = []
    while value > 0x7F:
        more.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*more, value])
