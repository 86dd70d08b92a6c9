"""Sends the load with Locust: `shopwindow loadtest`, and Locust's own command."""
