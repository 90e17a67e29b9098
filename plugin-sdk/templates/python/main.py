"""A door: only requests that know the word are let in."""

from gatewright import Plugin, plugin, problem
from gatewright.exchange import request


@plugin
class Door(Plugin):
    name = "my-plugin"
    version = "0.1.0"

    # What the operator writes; the gateway checks it against this.
    config_schema = {
        "type": "object",
        "required": ["word"],
        "additionalProperties": False,
        "properties": {"word": {"type": "string", "description": "The value of `x-word` that opens the door."}},
    }

    def configure(self, config):
        """Runs once for each instance: compute everything that depends only on the configuration here."""
        if not config["word"]:
            raise ValueError("word: an empty word would open the door to everybody")
        self.word = config["word"]

    def on_request(self, end_of_stream):
        """Runs for each request."""
        if request.headers.get("x-word") != self.word:
            return problem(403, "Forbidden", "the door stays shut")
        # Hide the word from the servers behind the gateway.
        del request.headers["x-word"]
        request.headers["x-door"] = "open"
