"""What goes in and what comes out: requests, options, results, errors. No connection."""
