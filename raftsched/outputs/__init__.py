"""What attempts wrote: the files, their second copies, and where they are found."""
