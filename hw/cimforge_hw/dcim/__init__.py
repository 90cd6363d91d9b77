"""The digital CIM tile, one component per file; ``docs/dcim.md`` is their contract."""
