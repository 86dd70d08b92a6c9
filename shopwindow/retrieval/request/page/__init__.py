"""The request parameters of a result page: read from JSON and checked against the columns of an index."""
