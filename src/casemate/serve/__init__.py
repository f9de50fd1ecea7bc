"""The prediction gateway: TLS 1.3, bearer tokens, Cedar decisions, Open Inference Protocol V2,
OpenMetrics.

`server.py` starts it, `app.py` routes and decides, `oip.py` is the wire format, `endpoint.py` the
verified models.
"""
