"""The record of a run: where it stands, what it says of itself, its incidents, its files."""
