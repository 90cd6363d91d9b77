"""The analog CIM tile in Amaranth, as ``docs/analog.md`` says; nothing of it knows the golden model."""
