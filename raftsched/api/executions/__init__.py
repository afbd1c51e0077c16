"""What ran, what runs, what was decided, and what was written."""
