"""What every call passes: the server, a bound, the way to the leader, and what a caller is told of an error."""
