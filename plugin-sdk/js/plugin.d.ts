/// <reference path="./contract.d.ts" />
import type { BodyDecision, Decision } from "gatewright:plugin/types@0.1.0";

export type { BodyDecision, Decision };

/** What a plugin is and does. Write the hooks that its world exports. */
export interface PluginDefinition<Config = unknown> {
  /** Its name, for people. */
  name: string;
  version: string;
  /** JSON Schema of the configuration: the gateway checks against it, and points at the mistake. */
  configSchema?: object;
  /** The metrics it writes. */
  metrics?: { name: string; kind: "counter" | "gauge" | "histogram"; help?: string; labels?: string[] }[];
  /** Once for each instance, before any hook. What it throws refuses the configuration. */
  configure?(config: Config): void;
  /** The request's head is here, and nothing was sent on. No answer is `proceed`. */
  onRequest?(endOfStream: boolean): Decision | void;
  /** A part of the request's body, where `onRequest` asked for it. No answer is `pass`. */
  onRequestBody?(chunk: Uint8Array, endOfStream: boolean): BodyDecision | void;
  /** The response's head is here. No answer is `proceed`. */
  onResponse?(endOfStream: boolean): Decision | void;
  /** A part of the response's body, where a hook asked for it. No answer is `pass`. */
  onResponseBody?(chunk: Uint8Array, endOfStream: boolean): BodyDecision | void;
  /** The exchange is over. */
  onComplete?(): void;
  /** Work beside the requests: after how many milliseconds to be called again, null for never. */
  onTick?(): number | null | void;
}

export function definePlugin<Config = unknown>(plugin: PluginDefinition<Config>): {
  lifecycle: typeof import("gatewright:plugin/lifecycle@0.1.0");
  requestHook: typeof import("gatewright:plugin/request-hook@0.1.0");
  requestBodyHook: typeof import("gatewright:plugin/request-body-hook@0.1.0");
  responseHook: typeof import("gatewright:plugin/response-hook@0.1.0");
  responseBodyHook: typeof import("gatewright:plugin/response-body-hook@0.1.0");
  completionHook: typeof import("gatewright:plugin/completion-hook@0.1.0");
  background: typeof import("gatewright:plugin/background@0.1.0");
};

/** On to the next plugin, with whatever was changed. */
export const proceed: Decision;
/** Stop here and reset the client's stream. */
export const abort: Decision & BodyDecision;
/** Send the chunk, and all that was held, on as it is. */
export const pass: BodyDecision;
/** Keep the chunk back; it comes again joined with what follows, one chunk or several. */
export const hold: BodyDecision;
/** Send this in the place of the chunk and all that was held. */
export function replace(body: string | Uint8Array): BodyDecision;

export type Fields = Record<string, string> | [string, string][];
/** Stop here and answer the client. */
export function respond(
  status: number,
  answer?: { headers?: Fields; body?: string | Uint8Array },
): Decision & BodyDecision;
/** Answers with JSON. */
export function respondJson(status: number, value: unknown, headers?: Record<string, string>): Decision & BodyDecision;
/** Answers with a problem (RFC 9457), as the gateway itself does. */
export function problem(status: number, title: string, detail?: string): Decision & BodyDecision;

/** A text as UTF-8. There is no TextEncoder in a plugin. */
export function bytes(text: string | Uint8Array): Uint8Array;
/** A text that UTF-8 has bytes for: half a surrogate pair, as JSON may have it, becomes U+FFFD. What is sent is made so anyway. */
export function wellFormed(text: string): string;
/** UTF-8 as a text; what is not UTF-8 comes as U+FFFD. */
export function text(bytes: Uint8Array): string;
