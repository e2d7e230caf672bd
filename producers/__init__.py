"""All that publishes to the broker."""
