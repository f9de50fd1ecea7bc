"""Estimators that scikit-learn lacks: differentially private linear models, torch networks,
hardening by augmentation.
"""
