"""Ids of executions: ULIDs whose time part is the nominal time and whose other bits follow from the decision."""

from hashlib import blake2b

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
TEXT_LENGTH = 26


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


def to_text(execution_id: bytes) -> str:
    """26 letters and digits in Crockford's base 32 (the text form of a ULID)."""
    number = int.from_bytes(execution_id, "big")
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -5, -5))


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
