"""What makes the files that ship: run by hand, from the repository's root."""
