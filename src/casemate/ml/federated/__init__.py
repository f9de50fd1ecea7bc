"""Federated learning: what a site computes, what a coordinator makes of it, and how nobody sees one
site's update. Arrays and records alone: who is asked, what is sent and what is recorded is decided
above.
"""
