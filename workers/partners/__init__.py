"""Partners' queues: what they publish comes in, and what they are told goes out."""
