"""Two versions of the program that differ by one command and one field, which the newer one brings."""

from raftsched_proto.v1 import policy_pb2

from raftsched.commands.fields import SINCE
from raftsched.commands.versions import NEWEST_VERSION, Versions

OLDER = NEWEST_VERSION
NEWER = NEWEST_VERSION + 1
NEW_COMMAND = "raftsched.internal.v1.Command.put_group"
NEW_FIELD = "raftsched.v1.Task.labels"
NEW_VALUE = "raftsched.v1.OverlapPolicy.OVERLAP_POLICY_QUEUE"
NEW_NUMBER = policy_pb2.OVERLAP_POLICY_QUEUE
_SINCE = SINCE | {NEW_COMMAND: NEWER, NEW_FIELD: NEWER, NEW_VALUE: NEWER}

OLDER_PROGRAM = Versions(OLDER, _SINCE)
"""Does not know them: to it, they are what it cannot read."""
NEWER_PROGRAM = Versions(NEWER, _SINCE)
