"""Marks computed outside learners' processes; README.md says which file does what, and what runs where."""
