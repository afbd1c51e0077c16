"""From the options of the command line to the fields of the API, and back to their names."""
