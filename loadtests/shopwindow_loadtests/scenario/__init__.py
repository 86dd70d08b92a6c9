"""What a load test sends: options, mix, shape of the load, queries, exact answers."""
