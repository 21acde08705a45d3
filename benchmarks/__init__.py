"""How fast, how big and how exact channel layers are, side by side.

``python -m benchmarks`` from the root of the repository; see ``README.md`` here.
"""
