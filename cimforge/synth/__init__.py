"""Area, timing and power of the digital tile's blocks by yosys and OpenSTA; no RTL is made here."""
