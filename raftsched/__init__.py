"""A distributed task scheduler, replicated by Raft."""
