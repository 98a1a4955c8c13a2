"""The ward console."""
