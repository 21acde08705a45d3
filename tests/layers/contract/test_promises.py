"""Every law of the conformance kit on every layer of the table."""

from channel_layers.testing.laws import all_laws

globals().update(all_laws())
