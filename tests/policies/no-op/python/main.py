"""Does nothing, in Python."""

from gatewright import Plugin, plugin


@plugin
class Nothing(Plugin):
    name = "no-op"
    version = "1.0.0"

    def on_request(self, end_of_stream):
        pass
