"""One self-contained page with pictures, drawn from run directories alone."""
