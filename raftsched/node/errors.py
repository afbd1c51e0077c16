"""Why a process does not start or had to stop, in words for who operates it."""


class StartError(Exception):
    """The process cannot start; the message says why and what to do."""


class Stopped(Exception):
    """The process had to stop, and lost nothing that it had acknowledged; the message says why and what to do."""


class Outdated(Stopped):
    """The process must be upgraded: the cluster, or its data directory, is of a newer version."""
