"""How a request becomes a reply: transport, retries, hedges, throttle."""
