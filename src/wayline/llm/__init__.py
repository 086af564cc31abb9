"""A language model behind any endpoint that speaks the OpenAI protocol: optional, capped, never in a request's path."""

from wayline.llm.cache import AnswerCache
from wayline.llm.client import LlmClient, Usage
from wayline.llm.prompts import Answer, Outcome, Prompt, Refused

__all__ = ["Answer", "AnswerCache", "LlmClient", "Outcome", "Prompt", "Refused", "Usage"]
