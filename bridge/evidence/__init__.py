"""What is proved to people who trust neither side: signed heads of audit logs, and the file that proves one alert.

Pure: bytes and keys in, findings in words out. `bridge verify` needs nothing else, on a machine that has no node.
"""
