"""Train the towers: batches of clicks, the loss of a step, and a loop that can be stopped and resumed."""
