"""`shopwindow bisect`: shows where the time of a query goes."""
