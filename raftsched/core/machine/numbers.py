"""The numbers that a shard gives out: uids of tasks and fencing tokens of attempts. See docs/adr/0018."""

from raftsched.core.machine.context import Context
from raftsched.core.state import ids
from raftsched.core.state.rows import LEAD_KEY, UID_KEY, be64
from raftsched.ports import Batch, Table


def found(batch: Batch, shard_id: int) -> None:
    """From this entry on the state is that of another cluster: a new one, or one that goes on with what is left.

    What was lost then may have given tokens that somebody acted on.
    """
    if batch.get(Table.META, UID_KEY) is None:
        batch.put(Table.META, UID_KEY, be64(ids.uid_before_first(shard_id)))
    else:
        raise_epoch(batch, 0)


def raise_epoch(batch: Batch, above: int) -> None:
    """From this entry on every token is higher than ``above``, and than all that the shard has given, or lost.

    For a task that comes from another shard, ``above`` is a token that is higher than all that were given there.
    """
    batch.put(Table.META, LEAD_KEY, be64(ids.next_epoch(max(above, _number(batch, LEAD_KEY)))))


def take_uids(context: Context, count: int) -> range:
    """Uids for so many tasks."""
    last = _number(context.batch, UID_KEY)
    context.batch.put(Table.META, UID_KEY, be64(last + count))
    return range(last + 1, last + 1 + count)


def next_token(context: Context) -> int:
    """A token for an attempt: higher than all that were given before."""
    if not context.tokens:
        context.first_token = ids.first_token(context.index, _number(context.batch, LEAD_KEY))
    context.tokens += 1
    return context.first_token + context.tokens - 1


def keep_lead(context: Context) -> None:
    """Let the next entry begin above what this one gave, if that is more than an entry has room for."""
    if over := ids.lead_of(context.tokens):
        context.batch.put(Table.META, LEAD_KEY, be64(_number(context.batch, LEAD_KEY) + over))


def _number(batch: Batch, key: bytes) -> int:
    row = batch.get(Table.META, key)
    return 0 if row is None else int.from_bytes(row, "big")
