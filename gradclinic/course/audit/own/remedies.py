"""Own claims about clipping, gates, norms and skips."""
