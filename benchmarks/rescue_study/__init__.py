"""The rescue study: broken training runs, the ways to run them, and what each way saved. See `benchmarks/rescue.py`."""
