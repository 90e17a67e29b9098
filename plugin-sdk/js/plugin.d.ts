/// <reference path="./contract.d.ts" />
import type { BodyDecision, Decision } from "gatewright:plugin/types@0.1.0";

export type { BodyDecision, Decision };

/** A plugin's description and hooks. Write the hooks that its world exports. */
export interface PluginDefinition<Config = unknown> {
  /** The plugin's name, for people. */
  name: string;
  version: string;
  /** JSON Schema of the configuration: the gateway checks against it, and points at the mistake. */
  configSchema?: object;
  /** The metrics that the plugin writes. */
  metrics?: { name: string; kind: "counter" | "gauge" | "histogram"; help?: string; labels?: string[] }[];
  /** Called once for each instance, before any hook. Throw to refuse the configuration. */
  configure?(config: Config): void;
  /** The request's head has arrived, and nothing was sent on yet. Returning nothing means `proceed`. */
  onRequest?(endOfStream: boolean): Decision | void;
  /** A part of the request's body, if `onRequest` asked for it. Returning nothing means `pass`. */
  onRequestBody?(chunk: Uint8Array, endOfStream: boolean): BodyDecision | void;
  /** The response's head has arrived. Returning nothing means `proceed`. */
  onResponse?(endOfStream: boolean): Decision | void;
  /** A part of the response's body, if a hook asked for it. Returning nothing means `pass`. */
  onResponseBody?(chunk: Uint8Array, endOfStream: boolean): BodyDecision | void;
  /** The exchange has ended. */
  onComplete?(): void;
  /** Background work. Returns the milliseconds until the next call; null for no further call. */
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

/** Go on to the next plugin, with all changes made so far. */
export const proceed: Decision;
/** Stop here and reset the client's stream. */
export const abort: Decision & BodyDecision;
/** Send the chunk, and everything held so far, on unchanged. */
export const pass: BodyDecision;
/** Keep the chunk back; it is shown again, joined with the next chunk or with several. */
export const hold: BodyDecision;
/** Send this instead of the chunk and everything held so far. */
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

/** Encodes a text as UTF-8. A plugin has no TextEncoder. */
export function bytes(text: string | Uint8Array): Uint8Array;
/** Makes a text valid UTF-8: a lone surrogate, which JSON may contain, becomes U+FFFD. All that is sent is. */
export function wellFormed(text: string): string;
/** Decodes UTF-8; invalid bytes become U+FFFD. */
export function text(bytes: Uint8Array): string;
