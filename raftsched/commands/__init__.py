"""What goes into the log: the envelope of commands, the versions that they have, and the gate that they pass."""
