"""Programs that run on the far side of the wall: launchers, the filter they install, and the Python worker.

They are started by a bare interpreter with an empty environment, so nothing here may import from outside this folder
but the standard library.
"""
