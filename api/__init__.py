"""Flask: decode, authorise, publish, answer; reads."""
