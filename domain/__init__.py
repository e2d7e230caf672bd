"""The message contract and every money rule. Pure: no I/O, and no clock but as an argument."""
