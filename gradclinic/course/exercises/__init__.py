"""The exercises of the labs, each defined once.

One definition serves the friendly check in the notebook, the grader, the tests and the instructor's index. Answers
are judged from returned numbers alone, so that a mark never has to trust code in a learner's notebook.
"""

from gradclinic.course.exercises.exercise import Exercise, Mistake, Verdict
from gradclinic.course.exercises.lab import Criterion, Essay, Lab, find_lab, labs

__all__ = ["Criterion", "Essay", "Exercise", "Lab", "Mistake", "Verdict", "find_lab", "labs"]
