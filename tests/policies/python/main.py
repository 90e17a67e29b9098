"""The policy of tests/policies, in Python."""

from gatewright import Plugin, plugin, respond_json
from gatewright.exchange import Refused, identity, request, response, set_attribute, set_identity
from gatewright.http import CallFailed, call
from gatewright.store import increment


@plugin
class Policy(Plugin):
    name = "policy"
    version = "1.0.0"
    config_schema = {
        "type": "object",
        "required": ["keys", "per_minute"],
        "additionalProperties": False,
        "properties": {
            "keys": {"type": "object", "additionalProperties": {"type": "string"}},
            "per_minute": {"type": "integer", "minimum": 1},
        },
    }

    def configure(self, config):
        self.keys = config["keys"]
        self.per_minute = config["per_minute"]

    def on_request(self, end_of_stream):
        key, plan = request.headers.select("x-api-key", "x-plan")
        proved = identity()
        user = proved.subject if proved else self.keys.get(key)
        if user is None:
            return refuse(401, "who are you?", {"www-authenticate": "Key"})
        count = increment(f"seen:{user}", 1, 60_000)
        if count > self.per_minute:
            return refuse(429, "too many requests", {"retry-after": "60"})
        tier = tier_of(user, plan or "free")
        if tier is None:
            return refuse(503, "try again later")
        try:
            del request.headers["x-api-key"]
            request.headers["x-user"] = user
            request.headers["x-tier"] = tier
            response.headers["x-remaining"] = str(self.per_minute - count)
            set_identity(user, {"tier": tier})
            set_attribute("tier", tier)
        except Refused:
            return refuse(503, "try again later")


def tier_of(user, plan):
    try:
        answer = call("profiles", f"/users/{user}", headers={"x-plan": plan})
    except CallFailed:
        return None
    if answer.status == 404:
        return "none"
    return answer.json()["tier"] if answer.status == 200 else None


def refuse(status, error, headers=None):
    return respond_json(status, {"error": error}, headers)
