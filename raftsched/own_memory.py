"""Keeps others from reading what this process has in memory."""

import ctypes

_PR_SET_DUMPABLE = 4


def close() -> None:
    """Let no other process of this user, a program that an attempt runs included, read the memory or environment.

    It leaves no core dump either, which would hold secrets (prctl(2), PR_SET_DUMPABLE). Programs that are started are
    as they always are: this ends with exec.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
