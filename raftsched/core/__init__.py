"""Pure scheduling logic: no clock, no randomness, no I/O."""
