"""Checks of what users define, tasks above all: by the API for whoever calls, by the command line for files."""
