"""Sends the load with Locust; `shopwindow loadtest`."""
