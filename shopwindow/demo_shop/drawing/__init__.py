"""The demo shop's photos, drawn."""
