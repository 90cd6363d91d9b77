"""The analog CIM tile in Amaranth, as ``docs/analog.md`` says; nothing here knows the model."""
