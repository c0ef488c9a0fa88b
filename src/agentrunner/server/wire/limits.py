"""The documented limits of the API, with the numbers that its users know."""

NAME_CHARS = 256
DESCRIPTION_CHARS = 512
INSTRUCTIONS_CHARS = 256_000
CONTENT_CHARS = 256_000
"""Of all text of one message."""
TOOLS = 128
TOOLS_OF_RUN = 20
"""Where a run names its own."""
FUNCTION_NAME_CHARS = 64
FILES_OF_INTERPRETER = 20
STORES_OF_OWNER = 1
"""Vector stores of one assistant, and of one thread."""
METADATA_PAIRS = 16
METADATA_KEY_CHARS = 64
METADATA_VALUE_CHARS = 512
MESSAGES_AT_ONCE = 100
"""With a new thread, or with a run: the original refused long lists without saying where it began to."""
PARTS_OF_CONTENT = 100
URL_CHARS = 8_192
"""Of a picture's address: what servers take."""
IMAGE_BYTES = 20 << 20
"""Of one picture in a message."""
IMAGES_SHOWN = 500
IMAGES_SHOWN_BYTES = 50_000_000
"""Of one request to a model, as they travel."""
ATTACHMENTS = 20
FILE_BYTES = 512 << 20
FILES_LISTED = 10_000
FILENAME_CHARS = 1_024
UPLOAD_BYTES = 8 << 30
PART_BYTES = 64 << 20
UPLOAD_SECONDS = 3_600
FILE_SECONDS = (3_600, 2_592_000)
FILES_OF_NEW_STORE = 500
FILES_OF_BATCH = 2_000
FILES_OF_STORE = 10_000
STORE_DAYS = (1, 365)
THREAD_STORE_DAYS = 7
"""Vector stores that were made for attachments expire after so many days without use."""
CHUNK_TOKENS = (100, 4_096)
DEFAULT_CHUNK = (800, 400)
"""Tokens of a chunk, and of what it shares with the one before."""
RESULTS = (1, 50)
WEIGHT = 1_000
"""Of vectors or words in a search: only what they are to each other counts."""
QUERIES = 32
"""Of one search: each is a search of its own."""
NESTED = 100
"""Levels of a JSON schema: nobody writes so many, and whoever reads one calls itself for each."""
JSON_BYTES = 32 << 20
"""Of a request that is no upload: 100 messages of 256,000 characters, most of them ASCII, are below it."""
