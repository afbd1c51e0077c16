"""Exclusions that several tasks share."""
