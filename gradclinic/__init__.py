"""gradclinic: measure why gradients vanish and explode, in your own network too."""

from gradclinic.diagnosis import Diagnosis, diagnose
from gradclinic.record import Record
from gradclinic.recorder import Recorder, probe

__all__ = ["Diagnosis", "Record", "Recorder", "diagnose", "probe"]
__version__ = "0.1.0"  # the one place where it stands: pyproject.toml reads it here
