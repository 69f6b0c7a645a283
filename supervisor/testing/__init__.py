"""Fakes for tests: time, a list of events, a tiny training."""
