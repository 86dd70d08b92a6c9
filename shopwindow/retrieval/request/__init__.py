"""What a caller may ask: parameters, channels, filters, and the rows that a filter allows."""
