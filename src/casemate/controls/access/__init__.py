"""Who may do what: principals, service tokens and the Cedar policy that decides every call."""
