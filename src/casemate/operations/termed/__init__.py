"""What has a term: versions of data sets and models, and kinds of records."""
