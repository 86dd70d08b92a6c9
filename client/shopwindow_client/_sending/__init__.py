"""Turns requests into replies: transport, retries, hedges, throttle."""
