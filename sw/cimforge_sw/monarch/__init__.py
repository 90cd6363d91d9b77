"""Monarch matrices: dense layers as two block-diagonal factors; nothing about arrays or tiles."""
