// A door: only requests that know the word are let in.
import { definePlugin, problem } from "../sdk/plugin.js";
import { request } from "../sdk/exchange.js";

interface Config {
  word: string;
}

let word: string;

export const { lifecycle, requestHook } = definePlugin<Config>({
  name: "my-plugin",
  version: "0.1.0",

  // What the operator writes; the gateway checks it against this.
  configSchema: {
    type: "object",
    required: ["word"],
    additionalProperties: false,
    properties: { word: { type: "string", description: "The value of `x-word` that opens the door." } },
  },

  // Runs once for each instance: compute everything that depends only on the configuration here.
  configure(config) {
    if (config.word === "") throw new Error("word: an empty word would open the door to everybody");
    word = config.word;
  },

  // Runs for each request.
  onRequest() {
    if (request.headers.get("x-word") !== word) return problem(403, "Forbidden", "the door stays shut");
    // Hide the word from the servers behind the gateway.
    request.headers.delete("x-word");
    request.headers.set("x-door", "open");
  },
});
