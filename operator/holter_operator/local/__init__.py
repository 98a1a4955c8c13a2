"""A cohort on one machine: the same objects, run as processes."""
