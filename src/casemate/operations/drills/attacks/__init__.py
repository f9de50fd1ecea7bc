"""Attacks, one file each: what somebody does, and which part of casemate is asked whether it saw
it.
"""
