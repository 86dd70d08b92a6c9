"""Watch a server by real requests and by its processes, and recover what died, froze or hangs."""
