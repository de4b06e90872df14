"""Own claims about descent: bowls, momentum, Adam, and networks that are no bowl."""
