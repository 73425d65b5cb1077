"""What trackers are told."""
