"""What `benchmarks/cells.py` measures of each cell, one file for each of its questions."""
