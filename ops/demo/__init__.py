"""The main job on real input: PaySim rows over HTTP, and the books checked against the file."""
