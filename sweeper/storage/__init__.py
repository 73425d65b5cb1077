"""Where a sweep is kept: Optuna's storage, folders and results, the lock, and what happens in an outage."""
