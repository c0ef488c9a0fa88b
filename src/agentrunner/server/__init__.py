"""The Assistants-compatible server: programs written for threads, runs and vector stores find here what they knew.

`app` puts the routes together, `guarding` lets requests in, `routes` answers them, `wire` knows every shape and limit,
`storage` keeps the objects beside the journal, `indexing` reads files into vector stores in the background.
"""
