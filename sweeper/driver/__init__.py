"""The process that runs a sweep: Ray Tune, its callbacks, and what is measured before the first trial."""
