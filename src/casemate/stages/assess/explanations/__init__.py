"""What each figure stands on, what it cannot see and where it is from; `explain` finds it."""
