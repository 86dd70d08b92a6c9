"""`make fuzz`: hostile requests against a real server, and what must hold all the while."""
