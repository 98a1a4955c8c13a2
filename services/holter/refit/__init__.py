"""Fits a model on stored feature vectors."""
