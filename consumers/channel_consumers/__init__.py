"""Consumers for Django Channels that work on any channel layer."""
