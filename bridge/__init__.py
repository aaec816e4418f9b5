"""Bridge: safeguarding alerts carried to the person's home area, signed, sealed and receipted."""

__version__ = "0.1.0"
