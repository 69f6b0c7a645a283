"""Two processes: the parent, which never imports torch and outlives anything, and the worker, which trains."""
