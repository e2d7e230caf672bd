"""All that consumes: the partitions of the ledger."""
