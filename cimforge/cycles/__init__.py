"""Costs of models from the shapes of their layers: one model, and the tables of the reports."""
