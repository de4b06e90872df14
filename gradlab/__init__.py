"""gradlab: measure why gradients vanish and explode, in your own network too."""

from gradlab.diagnosis import Diagnosis, diagnose
from gradlab.record import Record
from gradlab.recorder import Recorder, probe

__all__ = ["Diagnosis", "Record", "Recorder", "diagnose", "probe"]
__version__ = "0.1.0"
