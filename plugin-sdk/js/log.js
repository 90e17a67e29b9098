// Lines in the plugin's log. `fields` is an object of texts.
import * as host from "gatewright:plugin/log@0.1.0";
import { wellFormed } from "./plugin.js";

const line = (value) => wellFormed(String(value));
const at = (level) => (message, fields = {}) => host.write(level, line(message), Object.entries(fields).map(([name, value]) => [line(name), line(value)]));

export const debug = at("debug");
export const info = at("info");
export const warn = at("warn");
export const error = at("error");

/** Whether a line of this level would be kept. */
export const enabled = host.enabled;
