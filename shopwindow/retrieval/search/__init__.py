"""Vectors to products: exact or by an engine, channels merged, results cached."""
