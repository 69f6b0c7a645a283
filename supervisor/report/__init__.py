"""What a person sees of a run: where it stands, what went wrong in it, and what it came to."""
