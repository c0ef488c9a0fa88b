"""`python -m agentrunner` is `agent`."""

from agentrunner.cli import main

if __name__ == "__main__":
    main()
