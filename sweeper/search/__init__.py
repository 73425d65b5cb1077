"""What Optuna proposes next: prices at the budget, and sets of blocks."""
