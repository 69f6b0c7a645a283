"""What a person sees of a run: where it stands, and what it came to."""
