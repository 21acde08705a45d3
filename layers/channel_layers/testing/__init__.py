"""The conformance kit: the promises of ``docs/promises.md`` as properties, for any channel layer.

::

    pytest --pyargs channel_layers.testing --channel-layer=dotted.Class --layer-config='{...}'

In a layer's own test suite, override the fixture ``layer_under_test`` and take the laws in with
``globals().update(channel_layers.testing.laws.all_laws())``. See ``docs/conformance.md``.
Needs pytest and hypothesis.
"""
