"""Registering tasks and changing them."""
