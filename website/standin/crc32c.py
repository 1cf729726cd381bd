"""A stand-in for the crc32c package where its C code cannot run: the same function, in Python.

The polynomial is Castagnoli's, 0x1EDC6F41; reflected it is 0x82F63B78. A table holds what eight
steps of it make of each byte.
"""


def _eight_steps(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


TABLE = tuple(map(_eight_steps, range(256)))


def crc32c(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """The checksum of `data`, continuing from the checksum `value`. O(bytes)."""
    crc = value ^ 0xFFFFFFFF
    for byte in bytes(data):
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
