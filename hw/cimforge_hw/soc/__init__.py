"""A tile on a bus: AXI4-Lite registers, AXI4-Stream ports, interrupt; no arithmetic lives here."""
