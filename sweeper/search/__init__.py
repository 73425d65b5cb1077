"""What Optuna proposes: prices at the budget, sets of blocks, and which trials to confirm."""
