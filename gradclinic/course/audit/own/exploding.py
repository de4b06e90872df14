"""Own claims about what explodes, and what a loss that rises tells."""
