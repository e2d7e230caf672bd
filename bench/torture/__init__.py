"""The fault suite: break every part under load, then prove that the promises were kept."""
