"""Settings of a command and where each came from. Importing this is slow (pydantic): only commands that need it do."""

from agentrunner.config.describe import Option, options_for, show
from agentrunner.config.load import Loaded, load, user_config_file
from agentrunner.config.settings import Settings
from agentrunner.config.trusted import is_trusted, trust
from agentrunner.config.values import format_duration, parse_duration, parse_price

__all__ = [
    "Loaded",
    "Option",
    "Settings",
    "format_duration",
    "is_trusted",
    "load",
    "options_for",
    "parse_duration",
    "parse_price",
    "show",
    "trust",
    "user_config_file",
]
