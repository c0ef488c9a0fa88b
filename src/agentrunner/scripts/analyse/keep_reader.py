import linecache
from pathlib import Path

# The cells after this one read the table with what the first one defined; it has to be a file for that.
source = linecache.getlines(globals()["read_table"].__code__.co_filename)
Path("read_table.py").write_text("".join(source), encoding="utf-8")
Path("agent-notes.md").write_text("Goal: what the user asked for\n\nTable: \n", encoding="utf-8")
