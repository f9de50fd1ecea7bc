"""Bringing rendered manifests to a Kubernetes cluster, one version beside the other, and telling
what was changed there by hand.
"""
