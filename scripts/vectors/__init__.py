"""Makes the test vectors of the protocol: valid documents and, for each, what one change does to it."""
