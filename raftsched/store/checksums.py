"""The checksum of a row: CRC-32 (RFC 1952) over table, length of the key, key and value, in 4 bytes behind the value.

The CRC of data with its own CRC behind it, low byte first, is always the same number, so a row is checked as it lies on
disk. The length of the key goes in because a bit of LMDB's own structure may move the border between key and value.
"""

import struct
import zlib

from raftsched.ports import Table

SIZE_BYTES = 4
_RIGHT = 0x2144DF1C
"""CRC-32 of anything with its own CRC-32 behind it."""
_pack = struct.Struct("<I").pack
_crc32 = zlib.crc32

SEEDS = {table: zlib.crc32(table.value.encode()) for table in Table}
OWN_SEED = zlib.crc32(b"store")
"""For rows of the store itself."""


def sealed(seed: int, key: bytes, value: bytes) -> bytes:
    """The value with the checksum behind it."""
    return value + _pack(_crc32(value, _crc32(key, seed ^ len(key))))


def intact(seed: int, key: bytes, stored: bytes) -> bool:
    """Whether what ``sealed`` gave is still the same, under the same key and in the same table."""
    return _crc32(stored, _crc32(key, seed ^ len(key))) == _RIGHT
