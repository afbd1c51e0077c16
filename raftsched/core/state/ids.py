"""Ids of tasks and executions, and fencing tokens: how they are laid out. See docs/adr/0018.

The uid of a task is a number: 15 bits of the shard that registered it, then 48 that count its tasks. An execution has a
ULID, whose time part is the nominal time, and whose other bits follow from the decision, the uid of the task included.
A fencing token is a number: the log index, then 8 bits of the place in the entry, plus a lead that never falls.
"""

from hashlib import blake2b

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
TEXT_LENGTH = 26
MAX_SHARD_ID = (1 << 15) - 1
"""Uids are positive numbers of 64 bits with a sign."""
_TASK_BITS = 48
_PLACE_BITS = 8
_EPOCH = 1 << 40


def uid_before_first(shard_id: int) -> int:
    """The number below the first uid of a shard."""
    assert 0 < shard_id <= MAX_SHARD_ID, f"there can be no shard {shard_id}"
    return shard_id << _TASK_BITS


def first_token(index: int, lead: int) -> int:
    """The first token of a log entry. Without regard to the lead, the next entry begins 256 above it."""
    return lead + (index << _PLACE_BITS)


def lead_of(tokens: int) -> int:
    """By how much an entry that gives so many tokens reaches into those of the next."""
    return max(0, tokens - 1) >> _PLACE_BITS << _PLACE_BITS


def next_epoch(lead: int) -> int:
    """A lead that is above 2 to the power of 32 entries which began with ``lead``."""
    return lead + _EPOCH


def execution_id(uid: int, generation: int, nominal_us: int, nonce: bytes = b"") -> bytes:
    """The 16 bytes of the id: 48 bits of nominal time in milliseconds, then 80 bits of a hash of the decision.

    The same decision has the same id on every node and in every leader's term.
    """
    digest = blake2b(b"%d/%d/%d/" % (uid, generation, nominal_us) + nonce, digest_size=10).digest()
    return (nominal_us // 1000).to_bytes(6, "big") + digest


def pinned_id(nominal_id: bytes, executor_id: str) -> bytes:
    """The id of the execution that is pinned to one executor, from the id of its nominal time, whose time it has."""
    digest = blake2b(nominal_id + executor_id.encode(), digest_size=10).digest()
    return nominal_id[:6] + digest


def first_id(nominal_us: int) -> bytes:
    """The lowest id that an execution of this nominal time can have."""
    return max(0, nominal_us // 1000).to_bytes(6, "big") + bytes(10)


def nominal_us_of(execution_id: bytes) -> int:
    """The nominal time that an id has, in microseconds: whole milliseconds."""
    return int.from_bytes(execution_id[:6], "big") * 1000


def to_text(execution_id: bytes) -> str:
    """26 letters and digits in Crockford's base 32 (the text form of a ULID)."""
    number = int.from_bytes(execution_id, "big")
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -10, -10)])


def from_text(text: str) -> bytes:
    """The 16 bytes of a text form, in either case. Raises ValueError when it is not one."""
    if len(text) != TEXT_LENGTH:
        raise ValueError(f"an execution id has {TEXT_LENGTH} characters, not {len(text)}")
    number = 0
    for letter in text.upper():
        if letter not in _VALUES:
            raise ValueError(f"{letter!r} cannot stand in an execution id")
        number = number << 5 | _VALUES[letter]
    if number >> 128:
        raise ValueError("the first character of an execution id is at most 7")
    return number.to_bytes(16, "big")
