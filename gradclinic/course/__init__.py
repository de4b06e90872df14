"""The course: theory, networks, figures, exercises, the audit. It stands on the tool, which knows nothing of it."""
