"""The same endpoints in many frameworks, and what each framework has that others have not.

`simple.py`, `feeds.py`, `working.py` and `ending.py` have endpoints that know a `Socket` only; a
module for each framework says how its own WebSocket is one. No endpoint keeps anything between
messages.
"""
