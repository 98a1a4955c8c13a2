"""The MonitoredCohort: its CRD, spec, and validation."""
