"""What the macros cost as netlists, and the papers' claims about it."""
