// Memory shared by all instances of the plugin in one gateway. With a `ttlMs` of null a value never expires.
import * as host from "gatewright:plugin/shared-store@0.1.0";
import { wellFormed } from "./plugin.js";

/** The bytes under a key, or null. */
export const get = (key) => host.get(wellFormed(key))?.value ?? null;
export const set = (key, value, ttlMs = null) => host.set(wellFormed(key), value, ttlMs);
export const remove = (key) => host.remove(wellFormed(key));
/** Adds to a counter and returns the new value. The time to live is set when the counter is created. */
export const increment = (key, delta = 1, ttlMs = null) => host.increment(wellFormed(key), delta, ttlMs);
