"""What owners who train together have agreed on, what is said between them, and what is kept of it.

`cards` says who they are, `messages` what one asks and another answers, `rounds` which charters
were approved here and what was asked and answered in which round, `wire` how a connection goes over
somebody else's messages. Nothing here decides.
"""

COORDINATOR = -1
"""In the place of a site's number."""
