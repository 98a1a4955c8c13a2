"""Takes ECG in: parses, authenticates, places in time, logs, answers, and stores."""
