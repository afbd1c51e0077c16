"""Fields that a message carries and this program does not know: who wrote them is of a newer version.

Protobuf keeps them without a word. Kept in the log they would mean something to the nodes that know them, and nothing
to the others; dropped, the request would do something else than was asked.
"""

from collections.abc import Mapping

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet


def has_unknown(message: Message, size_bytes: int) -> bool:
    """Drop what is not known, of a message that was read from so many bytes; whether there seems to be something.

    A message that was written otherwise than it would be here seems to have something too.
    """
    message.DiscardUnknownFields()
    return message.ByteSize() != size_bytes


def unknown_field(message: Message, path: str = "") -> str:
    """The first field that is not known, as the fields that lead there and its number; "" for none."""
    own = UnknownFieldSet(message)
    if len(own):
        return f"{path}{own[0].field_number}"
    for each, value in message.ListFields():
        if each.message_type is None:
            continue
        items = value.values() if isinstance(value, Mapping) else value if each.is_repeated else [value]
        for item in items:
            if isinstance(item, Message) and (found := unknown_field(item, f"{path}{each.name}.")):
                return found
    return ""
