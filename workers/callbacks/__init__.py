"""Callbacks: events are handed on to endpoints and partners, and delivered over HTTP."""
