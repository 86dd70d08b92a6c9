"""`make bench`: other servers that do the same work with the same towers, index, tokeniser and cores."""
