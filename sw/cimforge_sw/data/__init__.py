"""Text that ships with the package. No code lives here."""
