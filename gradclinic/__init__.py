"""gradclinic: measure why gradients vanish and explode, in your own network too."""

from gradclinic.chance import chance_loss
from gradclinic.diagnosis import Diagnosis, diagnose
from gradclinic.record import Record
from gradclinic.recorder import Recorder, probe
from gradclinic.trace import trace_nonfinite

__all__ = ["Diagnosis", "Record", "Recorder", "chance_loss", "diagnose", "probe", "trace_nonfinite"]
__version__ = "0.1.0"  # the one place where it stands: pyproject.toml reads it here
