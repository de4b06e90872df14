"""gradlab: measure why gradients vanish and explode, in your own network too."""

from gradlab.recorder import Record, Recorder, probe

__all__ = ["Record", "Recorder", "probe"]
__version__ = "0.1.0"
