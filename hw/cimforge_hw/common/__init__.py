"""Building blocks without knowledge of any tile: placing components, adder trees."""
