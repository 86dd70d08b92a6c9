"""`shopwindow bisect`: where a query's time goes."""
