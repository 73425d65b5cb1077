"""The process that runs a sweep: Ray Tune, its scheduler, and what is measured before the first trial."""
