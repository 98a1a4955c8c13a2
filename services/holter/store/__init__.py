"""Where samples, scores, alerts and baselines are kept: one protocol, two implementations."""
