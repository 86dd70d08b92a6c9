"""What goes in and comes out: requests, options, results, errors. No connection."""
