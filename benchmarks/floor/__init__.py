"""The floor: the least code that does what an event asks for, once, if nothing goes wrong.

No retries, limits, logging, tasks, 410s, expired keys, fences: nobody could run it. It shows what
the same work costs at least in this Python, with this event loop and these drivers.
"""
