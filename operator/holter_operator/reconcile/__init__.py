"""Reconcile steps and the model gate."""
