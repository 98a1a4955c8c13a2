"""Metrics and health of the operator."""
