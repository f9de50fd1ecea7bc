"""Requests of people about their data: which laws give how long, and the life of a request."""
