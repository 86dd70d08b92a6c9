"""What is sent: options, mix, shape of the load, queries, exact answers."""
