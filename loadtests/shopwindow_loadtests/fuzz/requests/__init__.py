"""The requests of the fuzzer, made from a seed and a number."""
