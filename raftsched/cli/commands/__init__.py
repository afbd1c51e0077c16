"""The commands, one module for each of ``raftsched COMMAND``."""
