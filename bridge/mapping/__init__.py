"""Mapping profiles: how alerts and the records of one case system become each other.

A profile is a TOML file of one system. Outward it makes rows of a received alert in that system's own words; inward it
makes alerts of that system's records. Neither direction loses anything without saying so.
"""
