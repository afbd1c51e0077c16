"""Flips single bits of a store's file, each time in a fresh copy, and says what the store makes of it.

python -m tests.support.flips STORE SEED TRIALS. A program of its own, for LMDB may crash on a damaged file.
"""

import random
import shutil
import struct
import sys
import tempfile
from pathlib import Path

from raftsched.ports import StoreRefused, Table
from raftsched.store.lmdb_store import LmdbStore

_PAGE_BYTES = 4096
_BRANCH, _LEAF, _META = 1, 2, 8
_KINDS = 15

Rows = dict[str, dict[bytes, bytes]]


def main(store: Path, seed: int, trials: int) -> None:
    dice = random.Random(seed)
    good = (store / "data.mdb").read_bytes()
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "store"
        right = _open(store, copy, good)
        for _ in range(trials):
            data = bytearray(good)
            at = _in_structure(dice, good)
            data[at] ^= 1 << dice.randrange(8)
            try:
                seen = _open(store, copy, bytes(data))
            except StoreRefused:
                print(f"{at} refused")
            else:
                print(f"{at} {'same' if seen == right else 'different'}")


def _open(store: Path, copy: Path, data: bytes) -> Rows:
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    shutil.copy(store / "FORMAT", copy)
    (copy / "data.mdb").write_bytes(data)
    opened = LmdbStore(copy, max_size_bytes=1 << 30)
    try:
        with opened.read() as reader:
            return {table.value: dict(reader.scan(table)) for table in Table}
    finally:
        opened.close()


def _in_structure(dice: random.Random, data: bytes) -> int:
    """A byte of the header or the offsets of a page with a header of its own."""
    while True:
        page = dice.randrange(len(data) // _PAGE_BYTES) * _PAGE_BYTES
        number, _, flags, lower = struct.unpack_from("<QHHH", data, page)
        if number == page // _PAGE_BYTES and flags & _KINDS in (_BRANCH, _LEAF, _META):
            return page + dice.randrange(min(_PAGE_BYTES, max(16, lower)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
