"""The child process of `search_files`: reads a header line and the files' bytes from standard input, prints hits as
JSON. It opens no file and imports nothing but the standard library."""

import json
import re
import sys

LONGEST_SHOWN = 300  # characters of one line


def main() -> None:
    header = json.loads(sys.stdin.buffer.readline())
    try:
        matches = re.compile(header["pattern"]).search
    except (re.error, OverflowError, RecursionError) as error:
        print(json.dumps({"problem": str(error)}))
        return
    hits: list[list[object]] = []
    for name, size in header["files"]:
        text = sys.stdin.buffer.read(size).decode("utf-8", "replace")
        for number, line in enumerate(text.split("\n"), 1):
            line = line.rstrip("\r")
            if matches(line):
                if len(hits) == header["max_hits"]:
                    print(json.dumps({"hits": hits, "more": True}))
                    return
                hits.append([name, number, line[:LONGEST_SHOWN]])
    print(json.dumps({"hits": hits, "more": False}))


if __name__ == "__main__":
    main()
