"""`kubectl holter`: how a cohort is, what is wrong, what to do next; and the few things that people do to one."""
