"""The live view of a run: what a person at a terminal sees of it while it goes on, from its directory alone."""
