"""The rules of ``diagnose``, by what they look at. README.md says in which order they speak."""
