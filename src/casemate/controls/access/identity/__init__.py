"""Who somebody is and how that is known: principals, passwords, second factors, sessions, tokens,
other people's issuers.
"""
