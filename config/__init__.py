"""What differs between deployments, and the broker's layout as data. Imports nothing of ours."""
