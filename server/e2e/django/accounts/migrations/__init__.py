"""Schema of the members."""
