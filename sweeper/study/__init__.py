"""The truth about a sweep: its study, what is read from it, and the front."""
