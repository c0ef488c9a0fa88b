"""What answers each request: one module for each kind of object, each with a list `ROUTES`."""
