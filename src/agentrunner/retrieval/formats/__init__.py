"""The formats that take more than decoding. They run in a child process: see `child.py`."""
