"""The shapes that travel: what a request may say, and what an answer says. Nothing here stores or sends anything."""
