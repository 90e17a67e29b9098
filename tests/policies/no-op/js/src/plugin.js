// Does nothing, in JavaScript.
import { definePlugin } from "../sdk/plugin.js";

export const { lifecycle, requestHook } = definePlugin({
  name: "no-op",
  version: "1.0.0",
  onRequest() {},
});
