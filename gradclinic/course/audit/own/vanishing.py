"""Own claims about the factor of a layer, about starts and activations."""
