"""The half that knows torch: inspection of a step, capture and restoration of its state, the data position."""
