"""Bills of materials of models: one record, its formats, what differs between two."""
