"""Which outputs share their positions; without PyTorch, so that plans load at once."""

from cimforge.spec.errors import ConfigError

__all__ = ["GRANULARITIES", "check_sharing"]

GRANULARITIES = ("free", "share2", "share4", "tile")


def check_sharing(granularity: object, tile_cols: object) -> None:
    """Refuse a granularity or a tile size that `nm_mask` cannot have, with a ConfigError."""
    if granularity not in GRANULARITIES:
        raise ConfigError(f"granularity must be one of {', '.join(GRANULARITIES)}, "
                          f"not {granularity!r}")
    if not isinstance(tile_cols, int) or tile_cols < 1:
        raise ConfigError(f"tile_cols must be a positive integer, not {tile_cols!r}")
