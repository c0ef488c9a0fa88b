"""What people and programs see of a session. Every module here listens to events; none of them changes anything.

Nothing is imported at this level: the terminal needs rich, and start-up should not pay for it.
"""
