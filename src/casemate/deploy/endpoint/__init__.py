"""Bringing rendered requests to SageMaker: one fleet beside the other, alarms that judge, and what
is otherwise there than was rendered.
"""
