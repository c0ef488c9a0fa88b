"""Where the server's objects and files are kept: rows beside the journal, contents in files. It knows no route."""
