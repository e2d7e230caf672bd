"""How the database came to be, step by step. Applied by `./tekana migrate`."""
