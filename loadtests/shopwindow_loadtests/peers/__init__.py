"""The same work served by others, for `make bench`: same towers, same index, same tokeniser, same cores."""
