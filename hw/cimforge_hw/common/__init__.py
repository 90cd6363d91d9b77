"""Building blocks of every tile: placing components, sums, the requantizer."""
