"""nbgrader's view of this project: solutions/ is the source, labs/ is what learners get."""

c = get_config()  # noqa: F821  (nbgrader provides it)

c.CourseDirectory.course_id = "vanishing-and-exploding-gradients"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "labs"
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError()  # your code here"}
