"""Flips single bits of a store's file, each time in a fresh copy, and says what the store makes of it.

python -m tests.support.flips STORE SEED TRIALS {structure,used} [large]. Each trial is a process of its own, for LMDB
may crash on a damaged file; a store that crashed one is opened again as it was left.

structure  the header and the offsets of a page
used       what is in use of a page: its structure and its rows; all of a page of a long value
large      only what is checked of large files
"""

import os
import random
import shutil
import struct
import sys
import tempfile
from pathlib import Path

from raftsched.ports import StoreFailed, StoreRefused, Table
from raftsched.store import lmdb_store
from raftsched.store.lmdb_store import LmdbStore

_PAGE_BYTES = 4096
_BRANCH, _LEAF, _META = 1, 2, 8
_KINDS = 15

Rows = dict[str, dict[bytes, bytes]]


def main(store: Path, seed: int, trials: int, where: str, size: str = "small") -> None:
    dice = random.Random(seed)
    good = (store / "data.mdb").read_bytes()
    if size == "large":
        lmdb_store._QUICK_CHECK_BYTES = 0
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "store"
        _lay_out(store, copy, good)
        right = _read(copy)
        for _ in range(trials):
            data = bytearray(good)
            at = (_in_structure if where == "structure" else _in_use)(dice, good)
            data[at] ^= 1 << dice.randrange(8)
            _lay_out(store, copy, data)
            verdict = _verdict(copy, right)
            if verdict == "crashed":
                verdict = f"crashed-then-{_verdict(copy, right)}"
            print(f"{at} {verdict}", flush=True)


def _lay_out(store: Path, copy: Path, data: bytes) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    shutil.copy(store / "FORMAT", copy)
    (copy / "data.mdb").write_bytes(data)


def _verdict(copy: Path, right: Rows) -> str:
    verdicts = ("same", "different", "refused", "failed")
    child = os.fork()
    if not child:
        code = len(verdicts)
        try:
            code = 0 if _read(copy) == right else 1
        except StoreRefused:
            code = 2
        except StoreFailed:
            code = 3
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return "crashed" if os.WIFSIGNALED(status) else verdicts[os.WEXITSTATUS(status)]


def _read(copy: Path) -> Rows:
    opened = LmdbStore(copy, max_size_bytes=1 << 30)
    try:
        with opened.read() as reader:
            return {table.value: dict(reader.scan(table)) for table in Table}
    finally:
        opened.close()


def _in_structure(dice: random.Random, data: bytes) -> int:
    page, lower, _ = _page(dice, data)
    return page + dice.randrange(lower)


def _in_use(dice: random.Random, data: bytes) -> int:
    page, lower, upper = _page(dice, data)
    at = dice.randrange(lower + _PAGE_BYTES - upper)
    return page + (at if at < lower else upper + at - lower)


def _page(dice: random.Random, data: bytes) -> tuple[int, int, int]:
    """A page with a header of its own: where it begins, and where its free space does and ends."""
    while True:
        page = dice.randrange(len(data) // _PAGE_BYTES) * _PAGE_BYTES
        number, _, flags, lower, upper = struct.unpack_from("<QHHHH", data, page)
        if number == page // _PAGE_BYTES and flags & _KINDS in (_BRANCH, _LEAF):
            return page, max(16, lower), upper
        if number == page // _PAGE_BYTES and flags & _KINDS == _META:
            return page, 16 + 136, _PAGE_BYTES


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
