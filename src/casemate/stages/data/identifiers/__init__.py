"""Identifiers of people in tables: looked for, and taken out."""
