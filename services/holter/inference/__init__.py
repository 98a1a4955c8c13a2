"""Looks at every patient each second: stream, engine, decision, delivery."""
