"""What people may ask of those who hold their data: what was made of it, consent, requests."""
