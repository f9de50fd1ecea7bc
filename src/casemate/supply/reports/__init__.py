"""Reports of scanners that others ran: ZAP's, SonarQube's, and whatever writes SARIF.

A report is somebody else's word. It is read within bounds, held against what its format documents,
and becomes findings of the one model under a scanner's name that says so (`report:zap@SITE`). What
is no whole report of its kind has said nothing, which is not clean.
"""
