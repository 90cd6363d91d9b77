"""The accuracy table: every method on every model of the machine, cell by cell."""
