"""Models: the wire to OpenAI-compatible endpoints, and what tokens cost. The HTTP client is imported at first use."""

from agentrunner.llm.chat import ChatModel
from agentrunner.llm.client import Pool
from agentrunner.llm.lenient import loads_lenient

__all__ = ["ChatModel", "Pool", "loads_lenient"]
