"""From factors of a model to programs of the analog tile: mappings, schedules, costs."""
