"""A model zoo of our own, and how it was trained."""
