"""Evasion attacks and bounds: hardening uses them while training, the assessment uses them on what
came out.

`interface` says what an attacker can change, `surface` builds that from schema and configuration;
one file per attack.
"""
