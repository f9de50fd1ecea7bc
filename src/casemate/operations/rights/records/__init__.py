"""Records that laws want, written from what was measured and signed; what only people can say
stands in them as to be completed.
"""
