"""Embed a whole catalogue, index it, measure its recall, and publish it. A killed build can go on."""
