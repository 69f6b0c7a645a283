"""Tools for the files that users write: reading YAML, checking values, and naming the line of each mistake."""
