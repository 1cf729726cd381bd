"""Exercise 6: records that know whether they are whole."""

import struct
import zlib

HEADER = struct.Struct("<II")
LENGTH = struct.Struct("<I")


def frame(body: bytes) -> bytes:
    """Length and checksum, then the body. The checksum covers the length too."""
    length = LENGTH.pack(len(body))
    return length + struct.pack("<I", zlib.crc32(length + body)) + body


def read(data: bytes) -> tuple[list[bytes], int]:
    """Go on as long as the next record is whole."""
    bodies = []
    at = 0
    while at + HEADER.size <= len(data):
        length, checksum = HEADER.unpack_from(data, at)
        body = data[at + HEADER.size : at + HEADER.size + length]
        if len(body) != length or zlib.crc32(LENGTH.pack(length) + body) != checksum:
            break
        bodies.append(body)
        at += HEADER.size + length
    return bodies, at
