"""What the course states beyond the source document, measured as strictly: T1 and on, one file per chapter."""

from gradclinic.course.audit.own import exploding, failing, optimization, recurrence, remedies, starts, vanishing

__all__ = ["exploding", "failing", "optimization", "recurrence", "remedies", "starts", "vanishing"]
