/// <reference path="./contract.d.ts" />

/** A change that the gateway refused. */
export class Refused extends Error {
  readonly reason: "invalid-syntax" | "forbidden" | "limit-exceeded" | "wrong-phase" | "not-granted" | "other";
}

export interface Headers {
  /** The first value of a field, or null. */
  get(name: string): string | null;
  /** The first values of several fields, in one call. */
  select(...names: string[]): (string | null | undefined)[];
  has(name: string): boolean;
  /** @throws Refused */
  set(name: string, value: string): void;
  /** @throws Refused */
  append(name: string, value: string): void;
  /** @throws Refused */
  delete(name: string): void;
  /** Every field in order: a name in lower case and the bytes of a value. */
  all(): [string, Uint8Array][];
}

/** The request. A change that the gateway refuses throws a Refused. */
export const request: {
  method: string;
  readonly scheme: string;
  authority: string;
  /** The path with the query. */
  path: string;
  readonly headers: Headers;
  readBody(mode: "whole" | "chunks" | "skip"): void;
};

/** The response. A change that the gateway refuses throws a Refused. */
export const response: {
  /** 0 before there is a response. */
  status: number;
  readonly headers: Headers;
  readBody(mode: "whole" | "chunks" | "skip"): void;
};

export interface Identity {
  subject: string;
  claims: Record<string, unknown>;
}

/** Who is calling, once a plugin has authenticated the caller. */
export function identity(): Identity | null;
export function setIdentity(subject: string, claims?: Record<string, unknown>): void;
/** An attribute of the exchange, such as "source.address" or "route.name". */
export function attribute(name: string): string | null;
/** Sets `plugin.<this plugin>.<name>` for later plugins and the access log. */
export function setAttribute(name: string, value: string): void;
/** Sends the request to another upstream of the route. */
export function setUpstream(name: string): void;
export function state(): Uint8Array;
export function setState(bytes: Uint8Array): void;
