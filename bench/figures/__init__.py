"""One module for each group of figures that are measured beside each other."""
