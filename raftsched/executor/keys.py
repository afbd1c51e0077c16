"""What names an attempt."""

from raftsched.core.state import ids

AttemptKey = tuple[bytes, int]
"""Execution id (16 bytes) and attempt (from 1)."""


def describe(key: AttemptKey) -> str:
    """For logs and errors."""
    return f"{ids.to_text(key[0])}#{key[1]}"
