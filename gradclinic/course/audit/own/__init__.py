"""What the course states beyond the source document, measured as strictly: T1 and on, one file per chapter."""

from gradclinic.course.audit.own import exploding, optimization, remedies, vanishing

__all__ = ["exploding", "optimization", "remedies", "vanishing"]
