"""How a recorder sees: a private folder of public names. Import ``Recorder`` from ``gradclinic``."""
