"""Scanners: one file each behind `interface.Scanner`, whose answer is found, clean or could not
look. What could not be looked at is named and is not clean.

Scanners of other people are processes of their own, bounded, without a network, in environments of
their own (`process`); what they print is held against what they are documented to print, and
whether every file was looked at is asked of them file by file.
"""
