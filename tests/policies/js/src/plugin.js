// The policy of tests/policies, in JavaScript.
import { definePlugin, respondJson } from "../sdk/plugin.js";
import { Refused, identity, request, response, setAttribute, setIdentity } from "../sdk/exchange.js";
import { CallFailed, call } from "../sdk/http.js";
import { increment } from "../sdk/store.js";

let keys, perMinute;

export const { lifecycle, requestHook } = definePlugin({
  name: "policy",
  version: "1.0.0",

  configSchema: {
    type: "object",
    required: ["keys", "per_minute"],
    additionalProperties: false,
    properties: {
      keys: { type: "object", additionalProperties: { type: "string" } },
      per_minute: { type: "integer", minimum: 1 },
    },
  },

  configure(config) {
    keys = new Map(Object.entries(config.keys));
    perMinute = config.per_minute;
  },

  onRequest() {
    const [key, plan] = request.headers.select("x-api-key", "x-plan");
    const user = identity()?.subject ?? keys.get(key);
    if (user === undefined) return refuse(401, "who are you?", { "www-authenticate": "Key" });
    const count = increment(`seen:${user}`, 1, 60_000);
    if (count > perMinute) return refuse(429, "too many requests", { "retry-after": "60" });
    const tier = tierOf(user, plan ?? "free");
    if (tier === null) return refuse(503, "try again later");
    try {
      request.headers.delete("x-api-key");
      request.headers.set("x-user", user);
      request.headers.set("x-tier", tier);
      response.headers.set("x-remaining", String(perMinute - count));
      setIdentity(user, { tier });
      setAttribute("tier", tier);
    } catch (error) {
      if (error instanceof Refused) return refuse(503, "try again later");
      throw error;
    }
  },
});

function tierOf(user, plan) {
  try {
    const answer = call("profiles", `/users/${user}`, { headers: { "x-plan": plan } });
    if (answer.status === 404) return "none";
    return answer.status === 200 ? answer.json().tier : null;
  } catch (error) {
    if (error instanceof CallFailed) return null;
    throw error;
  }
}

function refuse(status, error, headers) {
  return respondJson(status, { error }, headers);
}
