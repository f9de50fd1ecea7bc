"""What follows from an incident outside of this machine: tickets."""
