"""Who may do what: identity (who somebody is), the Cedar policies that decide every call, and the
point where both meet.
"""
