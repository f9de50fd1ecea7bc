"""What judges series and tables after the release; each judge also works on plain files."""
