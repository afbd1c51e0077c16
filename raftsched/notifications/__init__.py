"""Tells webhooks what became of tasks: only the leader does, from the replicated outbox."""
