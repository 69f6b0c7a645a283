"""The event log handed on to other tools, each by a sink of its own, in a process beside the run."""
