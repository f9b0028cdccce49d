"""Access keys, their limits and budgets, and the cost of responses."""
