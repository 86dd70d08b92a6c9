"""Write the pages of docs/reference/ from the code. `make docs` runs this, and a test holds the pages to it."""
