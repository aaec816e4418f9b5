"""Keys, signatures, seals, encryption at rest: the only package that imports `cryptography`.

Bytes in, bytes out: nothing here knows an alert, a partner or a clock. New keys are made from the randomness that
the caller hands in; nonces of AES-GCM and the ephemeral keys of HPKE are always drawn here from the operating
system, because one that is repeated gives the plaintext away.
"""
