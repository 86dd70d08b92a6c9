"""What `make demo` stands on: a shop made up from scratch."""
