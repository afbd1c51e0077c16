"""What the leader does: fire what is due, give it to executors, take their reports, and clean up.

All of it stops when the leadership ends and starts from the tables when it begins; nothing durable lives in memory.
"""
