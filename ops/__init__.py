"""The operator's commands behind `./tekana`."""
