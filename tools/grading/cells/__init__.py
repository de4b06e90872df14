"""What of a learner's notebook is run to answer an exercise, and what comes back of it.

Runs in the jail, beside ``inside.py``, which calls it in the fork for one answer. It stands alone in there: at their
tops these files import from the standard library and from each other only. A mark is to be what the check in the
notebook said, so code is read as IPython reads it, and run in the notebook's order, up to the check. Only what the
function may rest on is run: experiments take minutes, and there are seconds.
"""

from tools.grading.cells.choosing import Choice, looked_at
from tools.grading.cells.reading import parsed, statements
from tools.grading.cells.running import Allowance, TooLarge, called, of_this_room, plain

__all__ = ["Allowance", "Choice", "TooLarge", "called", "looked_at", "of_this_room", "parsed", "plain", "statements"]
