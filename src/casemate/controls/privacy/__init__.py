"""What may be learnt about people: the budget of differential privacy, and noisy statistics that
spend from it.
"""
