"""Holter's data plane: from a wearable's samples to an alert."""
