"""The doors: HTTP for partners, for systems, and for the operator. Bytes in, one call of a verb, bytes out."""
