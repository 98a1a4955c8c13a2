"""Chunks of many devices at once, as columns, and the streams of seconds that they make. Compiled where it counts."""
