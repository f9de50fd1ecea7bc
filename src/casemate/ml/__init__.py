"""Machine learning that stages and the gateway share: frames of rows, model files, learners,
attacks.
"""
