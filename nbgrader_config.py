"""nbgrader's view of this project: solutions/ is the source, labs/ is what learners get."""

c = get_config()  # noqa: F821  (nbgrader provides it)

c.CourseDirectory.course_id = "vanishing-and-exploding-gradients"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "labs"
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError()  # your code here"}

# Rules of your course, for `make grade`; tools/grading/policy.py says what each does. As it stands nothing is late.
# c.Policy.due = {"02-vanishing": "2027-02-04 23:59 Europe/Berlin"}
# c.Policy.extensions = {"02-vanishing": {"ann": "2027-02-08 23:59 Europe/Berlin"}}
# c.Policy.per_day = 0.1  # the part of the marks that each day begun costs
# c.Policy.most = 0.5  # and no more than that
# c.Policy.attempts = "best"  # of several, after what being late costs; else the last counts
