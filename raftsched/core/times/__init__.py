"""Nominal times of schedules, zones and what is left out; and the time of a cluster as others are told it."""
