"""Simulated and recorded patients."""
