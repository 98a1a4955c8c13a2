"""Holter's control plane: from a MonitoredCohort to the objects that run it."""
