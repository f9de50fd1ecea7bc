"""What happens to the data, in order: data, train, assess, release. Siblings never import each
other.
"""
