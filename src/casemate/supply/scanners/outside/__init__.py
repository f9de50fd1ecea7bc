"""Other people's scanners of a gateway that runs, each behind a relay of ours: it gives them the
credentials, sends no more than may be asked, and knows whether they asked anything at all.
"""
